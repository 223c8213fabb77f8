"""The environment of an engine's process."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

QUIET_THREADS = {
    "OMP_WAIT_POLICY": "PASSIVE",  # spinning OpenMP threads of two engines starve each other
    "GOMP_SPINCOUNT": "0",
    "TOKENIZERS_PARALLELISM": "false",
}
THREAD_COUNTS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


def child_environment(config: Mapping[str, Any], *, offline: bool) -> dict[str, str]:
    """Our environment, with what an engine needs: thread counts, and no hub when ``offline``. What
    PyTorch compiles is kept for the next start: the process's own temporary folder is not.

    ``config["threads"]`` gives the count; without it the libraries choose.
    """
    environment = {**os.environ, **QUIET_THREADS}
    compiled = Path(tempfile.gettempdir()) / f"torchinductor_{os.getuid()}"
    environment.setdefault("TORCHINDUCTOR_CACHE_DIR", str(compiled))
    if threads := config.get("threads"):
        environment.update(dict.fromkeys(THREAD_COUNTS, str(threads)))
    if offline:
        environment["HF_HUB_OFFLINE"] = "1"
    return environment
