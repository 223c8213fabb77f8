"""The simulator against reality: advanced RAG under load, measured and predicted.

The short workload of evaluation.md on the embedded engines, pinned to separate cores; Poisson
arrivals at 30 and 60 % of what the engines can do; every query has documents of its own and fixed
numbers of tokens (end-of-sequence is ignored). The same arrivals are simulated, with the costs of
``pinned_profile`` and, where the workload fixes no sizes, the mean ones of other queries, which run
before, one at a time. A mean that is 15 % off is a defect (evaluation.md, "Rules"). It takes about
eight minutes; ``python -m benchmarks.calibration 4`` tries 4 queries a load and saves nothing.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from math import sqrt
from statistics import mean, stdev
from typing import Any

from benchmarks.pinned_profile import PROFILE
from benchmarks.report import save
from benchmarks.workloads import WORKLOADS
from teola.compiler.api import compile_workflow
from teola.compiler.cost.sizes import Sizes, measured_sizes, parse_sizes
from teola.compiler.plan import Plan
from teola.runtime import Runner
from teola.runtime.pool import EnginePool
from teola.runtime.result import RunResult, Usage
from teola.runtime.simulation import Report, Workload, poisson, simulate
from teola.runtime.simulation.report import EngineLoad, Spread
from teola.runtime.simulation.watch import Watch

WORKFLOW, SHORT = "advanced_rag", WORKLOADS[0]
QUERIES = {0.3: 12, 0.6: 28}
"""Load -> how many queries come."""
WARM_UP, FIRST = 2, 6
"""Queries that nothing is taken from, and those after them that sizes are taken from."""
MEASURES, TOLERANCE = ("mean", "p50", "p95"), 0.15
AT_ONCE, TOKENS, DIFFERENT = 40, 185, 21
"""Queries that show what the engines can do at most; tokens of their chunks, and how many passages
that their searches find differ."""


@dataclass
class Measured:
    """What the queries of a row took, in their order; what the engines did meanwhile."""

    latencies: Sequence[float]
    tokens: tuple[float, float]
    engines: Sequence[EngineLoad]


async def measure(plan: Plan, rows: Iterable[Sequence[float]]) -> tuple[Sizes, list[Measured]]:
    """The sizes that the first queries have; then let the others of each row of arrivals come, when
    those before have ended."""
    numbers = count()
    async with EnginePool() as pool, Runner(plan, pool=pool, share=False) as runner:

        async def query() -> RunResult:
            return await runner.run(**SHORT.inputs(next(numbers)))

        first = [await query() for _ in range(WARM_UP + FIRST)][WARM_UP:]
        timelines = [entry for one in first for entry in one.to_json()["timeline"]]
        sizes = measured_sizes({"timeline": timelines}, plan.graph)
        return sizes, [await _row(pool, query, arrivals) for arrivals in rows]


async def _row(
    pool: EnginePool, query: Callable[[], Awaitable[RunResult]], arrivals: Sequence[float]
) -> Measured:
    loop, watch = asyncio.get_running_loop(), Watch({})
    pool.observe(watch)
    start_s = loop.time()

    async def come(arrival_s: float) -> tuple[float, Usage]:
        await asyncio.sleep(start_s + arrival_s - loop.time())
        result = await query()
        return loop.time() - start_s - arrival_s, result.usage

    found = await asyncio.gather(*map(come, arrivals))
    usage = [one for _, one in found]
    tokens = (
        mean(one.prompt_tokens for one in usage),
        mean(one.completion_tokens for one in usage),
    )
    return Measured([one for one, _ in found], tokens, watch.loads(loop.time() - start_s))


def predict(plan: Plan, arrivals: Sequence[float], sizes: Sizes) -> Report:
    """The same arrivals, simulated."""
    workload = Workload(arrivals, sizes, spread=0)
    report = simulate(plan, workload, profile=PROFILE, share=False)
    if report.failures:
        raise SystemExit(f"simulated queries failed: {report.failures}")
    return report


def most(plan: Plan) -> float:
    """Queries a second that the engines can do: those of queries that come at once."""
    given = [f"{name}={SHORT.chunks}" for name in ("documents", "chunks.chunk")]
    given += [f"{name}:tokens={TOKENS}" for name in ("documents", "chunks.chunk")]
    given.append(f"found.distinct={DIFFERENT}")
    return predict(plan, (0.0,) * AT_ONCE, parse_sizes(given, plan.graph)).throughput


def figures(measured: Measured, predicted: Report) -> dict[str, Any]:
    """Both sides and the errors."""
    foretold = [sample.latency_s or 0.0 for sample in predicted.samples]
    sides = [Spread.of(one) for one in (measured.latencies, foretold)]
    found: dict[str, Any] = {}
    for name in MEASURES:
        one, other = (getattr(side, name) for side in sides)
        found[f"{name}, seconds"] = _pair(one, other, 2) | {"error": f"{other / one - 1:+.1%}"}
    off = mean(foretold) / mean(measured.latencies) - 1
    apart = [other - one for one, other in zip(measured.latencies, foretold, strict=True)]
    unsure = stdev(apart) / sqrt(len(apart)) / mean(measured.latencies)
    busy = {engine.name: engine.busy_s for engine in measured.engines}
    return {
        **found,
        "standard error of the error of the mean": f"{unsure:.1%}",
        f"mean within {TOLERANCE:.0%}": abs(off) <= TOLERANCE,
        "engines busy, seconds": {
            engine.name: _pair(busy[engine.name], engine.busy_s, 1) for engine in predicted.engines
        },
    }


def _pair(one: float, other: float, digits: int) -> dict[str, Any]:
    return {"measured": round(one, digits), "predicted": round(other, digits)}


def calibrate(queries: Mapping[float, int]) -> dict[str, Any]:
    """Measure and predict."""
    sets = [*SHORT.sets(WORKFLOW), "defaults.timeout=1h"]
    plan = compile_workflow(WORKFLOW, sets=sets, profile=PROFILE)
    at_most = most(plan)
    rows = {load: poisson(load * at_most, number) for load, number in queries.items()}
    sizes, measured = asyncio.run(measure(plan, rows.values()))
    found: dict[str, Any] = {"workload": f"{WORKFLOW}, {SHORT.name}", "queries for sizes": FIRST}
    for (load, arrivals), one in zip(rows.items(), measured, strict=True):
        found[f"load {load:.0%}"] = {
            "queries": len(arrivals),
            "queries a second": round(load * at_most, 4),
            "tokens in, out of a query": [round(tokens, 1) for tokens in one.tokens],
            **figures(one, predict(plan, arrivals, sizes)),
        }
    return found


def main() -> None:
    """Measure."""
    if not PROFILE.exists():
        raise SystemExit(f"{PROFILE} is missing: python -m benchmarks.run pinned_profile")
    save("calibration", calibrate(QUERIES))


if __name__ == "__main__":
    if sys.argv[1:]:
        print(json.dumps(calibrate(dict.fromkeys(QUERIES, int(sys.argv[1]))), indent=1))
    else:
        main()
