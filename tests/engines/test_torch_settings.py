"""Devices are checked when an engine starts."""

import pytest

from teola.runtime.errors import UnsupportedError

pytestmark = pytest.mark.models  # it needs PyTorch


@pytest.fixture
def gpus(monkeypatch):
    """Say how many GPUs PyTorch sees."""
    import torch

    def see(count):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: count > 0)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: count)

    return see


def device_of(name):
    from teola.runtime.engines.torch_settings import torch_settings

    return torch_settings({"device": name, "dtype": "float32", "threads": 1}).device


@pytest.mark.parametrize(
    ("count", "name", "device"),
    [(0, "auto", "cpu"), (2, "auto", "cuda"), (1, "cpu", "cpu"), (1, "cuda", "cuda"),
     (2, "cuda:1", "cuda:1"), (1, "cuda:0", "cuda:0")],
)  # fmt: skip
def test_a_device_that_is_there_is_used(gpus, count, name, device):
    gpus(count)
    assert device_of(name) == device


@pytest.mark.parametrize(
    ("count", "name", "seen"),
    [(0, "cuda", r"(without CUDA|sees no GPU)"), (1, "cuda:1", "sees cuda:0 only"),
     (2, "cuda:2", "sees cuda:0 to cuda:1")],
)  # fmt: skip
def test_one_that_is_not_there_is_refused_with_what_is(gpus, count, name, seen):
    gpus(count)
    with pytest.raises(UnsupportedError, match=f"no CUDA device: .*device: {name}, .*{seen}"):
        device_of(name)
