"""Which device, number format and how many threads an engine on PyTorch uses."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from teola.runtime.errors import UnsupportedError

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, slots=True)
class TorchSettings:
    """Concrete settings: nothing is ``auto`` any more."""

    device: str
    dtype: torch.dtype
    threads: int

    @property
    def details(self) -> dict[str, Any]:
        """As plain data, for `Capabilities.details`."""
        return {
            "device": self.device,
            "dtype": str(self.dtype).removeprefix("torch."),
            "threads": self.threads,
        }


def torch_settings(config: Mapping[str, Any]) -> TorchSettings:
    """Resolve ``device``, ``dtype`` and ``threads`` of a config, and set the threads.

    Raises:
        UnsupportedError: a device this machine does not have.
    """
    import torch

    threads = int(config.get("threads") or len(os.sched_getaffinity(0)))
    torch.set_num_threads(threads)
    device = _device(str(config.get("device") or "auto"))
    name = str(config.get("dtype") or "auto")
    dtype = best_dtype(device) if name == "auto" else getattr(torch, name)
    return TorchSettings(device, dtype, threads)


def _device(name: str) -> str:
    import torch

    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if name == "auto":
        return "cuda" if count else "cpu"
    if name == "cpu":
        return name
    number = int(name.partition(":")[2] or 0)
    if number >= count:
        seen = f"sees cuda:0 to cuda:{count - 1}" if count > 1 else "sees cuda:0 only"
        raise UnsupportedError(
            f"no CUDA device: engine setting device: {name}, but PyTorch "
            f"{seen if count else _without_gpu()}; write device: auto or cpu"
        )
    return name


def _without_gpu() -> str:
    import torch

    if torch.version.cuda is None:
        return f"{torch.__version__} is a build without CUDA"
    return "sees no GPU (nvidia-smi, CUDA_VISIBLE_DEVICES)"


def best_dtype(device: str) -> torch.dtype:
    """The fastest format whose results are still good.

    On a CPU that is bfloat16 only with AMX: without it PyTorch widens every number (AVX2: a prompt
    of 1,000 tokens takes 12 s in bfloat16, 2.3 s in float32).
    """
    import torch

    if device != "cpu":
        with torch.cuda.device(device):
            native = torch.cuda.is_bf16_supported(including_emulation=False)
        return torch.bfloat16 if native else torch.float16
    probe = getattr(torch.cpu, "get_capabilities", None)  # not in every version we allow
    has_amx = probe is not None and bool(probe().get("amx_bf16"))
    return torch.bfloat16 if has_amx else torch.float32
