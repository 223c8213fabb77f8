"""What every test can use, and how the whole run behaves."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import settings

# Set before any library reads them: no test asks a model hub, and two engines on two cores do not
# fight by spinning.
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

# A failing example is found again by everybody; a slow machine is not a failure.
settings.register_profile("repeatable", derandomize=True, deadline=None, print_blob=True)
settings.load_profile("repeatable")

ROOT = Path(__file__).resolve().parent.parent


def pytest_addoption(parser):
    """``--vllm`` runs what needs vLLM, whose environment is another one, and nothing else."""
    parser.addoption("--vllm", action="store_true", help="run the tests that need vLLM")
    parser.addoption("--device", default="cuda", help="where tests/gpu runs: cuda, cuda:1, cpu")


def pytest_collection_modifyitems(config, items):
    """Tests marked ``vllm`` run by themselves; those marked ``gpu`` are skipped where there is no
    NVIDIA driver."""
    parts = {True: [], False: []}
    for item in items:
        parts[item.get_closest_marker("vllm") is not None].append(item)
    items[:] = parts[config.getoption("vllm")]
    config.hook.pytest_deselected(items=parts[not config.getoption("vllm")])
    if shutil.which("nvidia-smi") or config.getoption("--device") == "cpu":
        return
    without_gpu = pytest.mark.skip(reason="no NVIDIA driver on this machine: make test-gpu")
    for item in items:
        if "gpu" in item.keywords:
            item.add_marker(without_gpu)


@pytest.fixture(scope="session")
def root() -> Path:
    """The repository's root folder."""
    return ROOT


@pytest.fixture(scope="session")
def project_files() -> tuple[Path, ...]:
    """Paths from the root of every file of the project: tracked, or new and not ignored."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    listed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    names = sorted(set(filter(None, listed.split("\0"))))
    return tuple(Path(name) for name in names if (ROOT / name).is_file())


def on_vllm(*options):
    """vLLM's own server of a model: SmolLM2, or another one with these options."""
    from benchmarks.vllm_server import served
    from teola.runtime.models import ensure

    model = "all-minilm-l6-v2" if "pooling" in options else "smollm2-135m-instruct"
    common = ("--dtype", "float32", "--enforce-eager", "--kv-cache-memory-bytes", str(1 << 28))
    return served(ensure({"model": model}), "served", *common, *options)


@pytest.fixture(scope="session")
def vllm_server():
    """Settings of an LLM on vLLM's own server."""
    with on_vllm("--max-model-len", "2048", "--max-num-seqs", "8", "--block-size", "32") as url:
        yield {"base_url": url}


@pytest.fixture(scope="session")
def vllm_server_of_tokens(vllm_server):
    """The same, where the model's tokenizer is known."""
    from teola.runtime.models import ensure

    return {**vllm_server, "path": str(ensure({"model": "smollm2-135m-instruct"}))}


@pytest.fixture(scope="session")
def vllm_server_of_embeddings():
    """Settings of an embedder on vLLM's own server."""
    from teola.runtime.models import ensure

    with on_vllm("--runner", "pooling", "--convert", "embed") as url:
        yield {"base_url": url, "path": str(ensure({"model": "all-minilm-l6-v2"}))}
