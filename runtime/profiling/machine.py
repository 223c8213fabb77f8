"""What a profile was measured on, in words that name no host and no folder."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

PACKAGES = ("torch", "transformers", "sentence-transformers", "vllm", "faiss-cpu", "tokenizers")
SHOWN = ("device", "dtype", "threads")


def machine(engines: Iterable[tuple[str, Mapping[str, Any]]]) -> str:
    """Processor, cores, versions, and how each engine ran: (its name, the details it gives)."""
    cores = len(os.sched_getaffinity(0))
    parts = [f"{_processor()}, {cores} core{'s' if cores != 1 else ''}"]
    parts.append(", ".join([f"Python {platform.python_version()}", *_versions()]))
    for name, details in engines:
        facts = [f"{key} {details[key]}" for key in SHOWN if key in details]
        if facts:
            parts.append(f"{name}: {', '.join(facts)}")
    return "; ".join(parts)


def _versions() -> Iterable[str]:
    for package in PACKAGES:
        try:
            yield f"{package} {version(package)}"
        except PackageNotFoundError:
            continue


def _processor() -> str:
    described = Path("/proc/cpuinfo")
    if described.is_file():
        for line in described.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
