"""Whole processes: `teola check`, `compile` and `viz` on advanced_rag, imports and all.

Target (first issue): under 0.9 s each.
"""

from __future__ import annotations

import subprocess
import sys
import time

from benchmarks.report import save, spread

REPEATS = 7
COMMANDS = {
    "check": ["check", "advanced_rag"],
    "compile": ["compile", "advanced_rag", "--emit", "plan"],
    "viz": ["viz", "advanced_rag"],
}


def once(arguments: list[str]) -> float:
    """Wall seconds of one process."""
    start = time.perf_counter()
    subprocess.run(
        [sys.executable, "-m", "teola.runtime.cli", *arguments],
        check=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    return time.perf_counter() - start


def main() -> None:
    """Measure each command, in turn, REPEATS times after a first run."""
    times: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for round_ in range(REPEATS + 1):
        for name, arguments in COMMANDS.items():
            seconds = once(arguments)
            if round_:
                times[name].append(seconds)
    figures = {f"{name}, wall seconds": spread(values) for name, values in times.items()}
    save("commands", {**figures, "target seconds": 0.9})


if __name__ == "__main__":
    main()
