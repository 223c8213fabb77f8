"""``benchmarks/results/load.json`` as the table of docs/scheduling.md: ``python -m
benchmarks.load_table`` prints its rows."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from benchmarks.report import RESULTS

LOADS = ("load 75%", "load 90%")
SIDES = ("-O0 throughput", "-O2 throughput", "-O2 topology", "-O2 remaining-work")


def rows(figures: Mapping[str, Any]) -> Iterator[str]:
    """A row for each workload and high load."""
    for case, found in figures.items():
        if not isinstance(found, dict):
            continue
        for load in LOADS:
            yield _row(f"{case}, {load.removeprefix('load ').replace('%', ' %')}", found[load])


def _row(name: str, cell: Mapping[str, Any]) -> str:
    seconds = cell["seconds"]
    sides = (
        " / ".join(f"{seconds[side][one]:.1f}" for one in ("mean", "p50", "p99")) for side in SIDES
    )
    against = cell["remaining-work / topology"]
    chain = cell["chain / best"]["mean"]
    ratios = (f"{against['mean']:.2f} / {against['p99']:.2f}", f"{chain:.2f}")
    return " | ".join((name, *sides, *ratios))


def main() -> None:
    """Print them."""
    found = json.loads((RESULTS / "load.json").read_text(encoding="utf-8"))
    print("\n".join(rows(found["figures"])))


if __name__ == "__main__":
    main()
