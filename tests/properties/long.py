"""Many generated workflows on all cores: a process each, with seeds of its own; one summary.

``CASES`` (10,000 without it), ``SEED`` and ``SECONDS`` as in `tests.properties.campaign`; the
arguments go to pytest.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.report import save
from tests.properties.campaign import CHUNK, SEED

CASES = int(os.environ.get("CASES", "10000"))
PROCESSES = min(os.cpu_count() or 1, -(-CASES // CHUNK))
TESTS = str(Path(__file__).with_name("test_workflows.py"))


def start(number: int, summary: Path, arguments: Sequence[str]) -> subprocess.Popen[bytes]:
    """Begin the part of a process."""
    chunks = -(-CASES // CHUNK)
    first, end = (chunks * n // PROCESSES for n in (number, number + 1))
    cases = min(CASES, end * CHUNK) - first * CHUNK
    part = {"CASES": str(cases), "SEED": str(SEED + first), "SUMMARY": str(summary)}
    command = [sys.executable, "-m", "pytest", "-q", TESTS, *arguments]
    return subprocess.Popen(command, env=os.environ | part)


def merged(parts: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The summaries of all processes as one."""
    seen = sum((Counter(part["cases with"]) for part in parts), Counter())
    return {
        "seed": SEED,
        "processes": len(parts),
        "cases": sum(part["cases"] for part in parts),
        "cases asked for": CASES,
        "seeds with failures": sum(part["seeds with failures"] for part in parts),
        "seconds": max(part["seconds"] for part in parts),
        "cases with": dict(sorted(seen.items())),
    }


def main() -> None:
    """Run them all, and keep the summary beside the results of the benchmarks."""
    with tempfile.TemporaryDirectory() as folder:
        summaries = [Path(folder, f"{number}.json") for number in range(PROCESSES)]
        running = [start(n, summary, sys.argv[1:]) for n, summary in enumerate(summaries)]
        statuses = [process.wait() for process in running]
        parts = [json.loads(one.read_text(encoding="utf-8")) for one in summaries if one.exists()]
    if parts:
        save("properties", merged(parts))
    sys.exit(max(statuses))


if __name__ == "__main__":
    main()
