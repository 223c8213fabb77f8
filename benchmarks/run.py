"""`make bench`: run the benchmarks named on the command line, or all, one after another."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from pathlib import Path

NAMES = (
    "compilation",
    "instantiation",
    "scheduler",
    "crowd",
    "commands",
    "retrieval",
    "indexes",
    "first_token",
    "prefill",
    "early_prefill",
    "vllm_offline",
    "load",
    "soak",
    "pinned_profile",
    "optimizer",
    "calibration",
)
ON_VLLM = frozenset({"early_prefill", "vllm_offline"})
NO_VLLM = "needs vLLM: make test-vllm, then .venv-vllm/bin/python -m benchmarks.run"


def main() -> None:
    """Run them; without names, what needs vLLM is left out where that is missing, and says so."""
    sys.path.insert(0, str(Path(__file__).parent.parent))
    for name in sys.argv[1:] or NAMES:
        if name not in NAMES:
            raise SystemExit(f"there is no benchmark {name!r}; there are: {', '.join(NAMES)}")
        print(f"{name}:")
        if name in ON_VLLM and importlib.util.find_spec("vllm") is None:
            if sys.argv[1:]:
                raise SystemExit(f"{name} {NO_VLLM} {name}")
            print(f"  left out, it {NO_VLLM} {name}")
            continue
        importlib.import_module(f"benchmarks.{name}").main()


if __name__ == "__main__":
    main()
