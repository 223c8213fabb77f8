"""What the passes gain on a GPU: -O0 against -O2, one query at a time, all engines on one GPU.

The sides alternate on the same engines, with the same documents, and questions that differ in their
number only; nothing is shared between queries. Lengths are fixed: the workloads of evaluation.md.
"""

from __future__ import annotations

import asyncio
import statistics
from typing import Any

from benchmarks.gpu.bench import Bench, rounds
from benchmarks.optimizer import ALL, CHAIN, Side
from benchmarks.report import spread
from benchmarks.workloads import WORKLOADS, Workload
from teola.compiler.api import compile_workflow
from teola.runtime.pool import EnginePool

WORKFLOWS = ("advanced_rag", "naive_rag")
LEAST, MOST = 3, 12
SECONDS = 12.0
"""For each case, once both sides have run often enough."""
TINY = Workload("tiny", 6, 8, 8)


def main(bench: Bench) -> None:
    """Measure."""
    bench.save("passes", asyncio.run(measure(bench)))


async def measure(bench: Bench) -> dict[str, Any]:
    """All cases, on one pool: the engines start once."""
    found = {}
    async with EnginePool() as pool:
        for workflow in WORKFLOWS:
            for lengths in (TINY,) if bench.dry else WORKLOADS:
                sides = await run(bench, pool, workflow, lengths)
                name = f"{workflow}, {lengths.name}"
                found[name] = figures(sides)
                print(f"  {name}: {found[name]}", flush=True)
    return found


async def run(bench: Bench, pool: EnginePool, workflow: str, lengths: Workload) -> dict[str, Side]:
    """Both sides, alternating; the first round only warms up."""
    sets = bench.sets(workflow, lengths)
    sides = {
        level: Side(compile_workflow(workflow, level=level[1:], sets=sets))
        for level in (CHAIN, ALL)
    }
    for number in rounds(1 + (1 if bench.dry else LEAST), MOST, 0 if bench.dry else SECONDS):
        for side in sides.values():
            await side.run(pool, lengths.inputs(number))
        if number == 0:
            for side in sides.values():
                side.forget()
    return sides


def figures(sides: dict[str, Side]) -> dict[str, Any]:
    """What the runs say."""
    medians = {name: statistics.median(side.seconds) for name, side in sides.items()}
    return {
        "seconds": {name: spread(side.seconds) for name, side in sides.items()},
        "first answer token, seconds": {
            name: spread(side.first_token) for name, side in sides.items()
        },
        "tokens in, out": {name: tokens(side) for name, side in sides.items()},
        "ratio -O0 / -O2": round(medians[CHAIN] / medians[ALL], 3),
        "ratio of minima": round(min(sides[CHAIN].seconds) / min(sides[ALL].seconds), 3),
    }


def tokens(side: Side) -> tuple[float, float]:
    """Of a query, on average."""
    return (
        statistics.mean(result.usage.prompt_tokens for result in side.results),
        statistics.mean(result.usage.completion_tokens for result in side.results),
    )
