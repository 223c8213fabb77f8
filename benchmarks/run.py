"""`make bench`: run the benchmarks named on the command line, or all, one after another."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

NAMES = (
    "compilation",
    "instantiation",
    "scheduler",
    "crowd",
    "commands",
    "retrieval",
    "first_token",
    "prefill",
    "load",
    "soak",
    "pinned_profile",
    "optimizer",
    "calibration",
)


def main() -> None:
    """Run them."""
    sys.path.insert(0, str(Path(__file__).parent.parent))
    for name in sys.argv[1:] or NAMES:
        if name not in NAMES:
            raise SystemExit(f"there is no benchmark {name!r}; there are: {', '.join(NAMES)}")
        print(f"{name}:")
        importlib.import_module(f"benchmarks.{name}").main()


if __name__ == "__main__":
    main()
