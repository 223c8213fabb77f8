"""The simulator against reality: advanced RAG under load, measured and predicted.

The short workload of evaluation.md on the embedded engines, pinned to separate cores; Poisson
arrivals at 60 % of what the engines can do; every query has documents of its own and fixed numbers
of tokens (end-of-sequence is ignored). The same arrivals are simulated, with the costs of
``pinned_profile`` and the mean sizes that the measured queries turned out to have. A mean that is
15 % off is a defect (evaluation.md, "Rules"). It takes about five minutes;
``python -m benchmarks.calibration 4`` tries 4 queries and saves nothing.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.pinned_profile import PROFILE
from benchmarks.report import save
from benchmarks.workloads import WORKLOADS
from teola.compiler.api import compile_workflow
from teola.compiler.cost.sizes import Sizes, measured_sizes, parse_sizes
from teola.compiler.plan import Plan
from teola.runtime import Runner
from teola.runtime.pool import EnginePool
from teola.runtime.result import RunResult
from teola.runtime.simulation import Report, Workload, poisson, simulate
from teola.runtime.simulation.report import EngineLoad, Spread
from teola.runtime.simulation.watch import Watch

WORKFLOW, SHORT = "advanced_rag", WORKLOADS[0]
QUERIES, WARM_UP, LOAD = 30, 2, 0.6
MEASURES, TOLERANCE = ("mean", "p50", "p95"), 0.15
AT_ONCE, TOKENS, DIFFERENT = 40, 185, 21
"""Queries that show what the engines can do at most; tokens of their chunks, and how many passages
that their searches find differ."""


@dataclass
class Measured:
    """What real queries took, and gave; what the engines did meanwhile."""

    latencies: Sequence[float]
    results: Sequence[RunResult]
    engines: Sequence[EngineLoad]


async def measure(plan: Plan, arrivals: Sequence[float]) -> Measured:
    """Run the queries as they come, on engines that are warm."""
    inputs = [SHORT.inputs(number) for number in range(len(arrivals) + WARM_UP)]
    async with EnginePool() as pool, Runner(plan, pool=pool, share=False) as runner:
        for one in inputs[:WARM_UP]:
            await runner.run(**one)
        loop, watch = asyncio.get_running_loop(), Watch({})
        pool.observe(watch)
        start_s = loop.time()

        async def query(arrival_s: float, one: Any) -> tuple[float, RunResult]:
            await asyncio.sleep(start_s + arrival_s - loop.time())
            result = await runner.run(**one)
            return loop.time() - start_s - arrival_s, result

        coming = zip(arrivals, inputs[WARM_UP:], strict=True)
        found = await asyncio.gather(*(query(*one) for one in coming))
        seconds = loop.time() - start_s
    return Measured([one for one, _ in found], [one for _, one in found], watch.loads(seconds))


def predict(plan: Plan, arrivals: Sequence[float], sizes: Sizes) -> Report:
    """The same arrivals, simulated."""
    workload = Workload(arrivals, sizes, spread=0)
    report = simulate(plan, workload, profile=PROFILE, share=False)
    if report.failures:
        raise SystemExit(f"simulated queries failed: {report.failures}")
    return report


def rate(plan: Plan) -> float:
    """Queries a second that are LOAD of the most: those of queries that come at once."""
    given = [f"{name}={SHORT.chunks}" for name in ("documents", "chunks.chunk")]
    given += [f"{name}:tokens={TOKENS}" for name in ("documents", "chunks.chunk")]
    given.append(f"found.distinct={DIFFERENT}")
    report = predict(plan, (0.0,) * AT_ONCE, parse_sizes(given, plan.graph))
    return LOAD * report.throughput


def figures(measured: Measured, predicted: Report) -> dict[str, Any]:
    """Both sides and the errors."""
    real, foretold = Spread.of(measured.latencies), predicted.latency
    if real is None or foretold is None:
        raise SystemExit("no query has ended")
    pairs = {name: (getattr(real, name), getattr(foretold, name)) for name in MEASURES}
    busy = {engine.name: engine.busy_s for engine in measured.engines}
    return {
        "seconds": {
            name: {"measured": round(one, 2), "predicted": round(other, 2)}
            for name, (one, other) in pairs.items()
        },
        "error": {name: f"{other / one - 1:+.1%}" for name, (one, other) in pairs.items()},
        f"mean within {TOLERANCE:.0%}": abs(foretold.mean / real.mean - 1) <= TOLERANCE,
        "engines busy, seconds": {
            engine.name: {
                "measured": round(busy[engine.name], 1),
                "predicted": round(engine.busy_s, 1),
            }
            for engine in predicted.engines
        },
    }


def calibrate(queries: int) -> dict[str, Any]:
    """Measure and predict."""
    sets = [*SHORT.sets(WORKFLOW), "defaults.timeout=1h"]
    plan = compile_workflow(WORKFLOW, sets=sets, profile=PROFILE)
    a_second = rate(plan)
    arrivals = poisson(a_second, queries)
    measured = asyncio.run(measure(plan, arrivals))
    timelines = [entry for one in measured.results for entry in one.to_json()["timeline"]]
    sizes = measured_sizes({"timeline": timelines}, plan.graph)
    usage = [one.usage for one in measured.results]
    return {
        "workload": f"{WORKFLOW}, {SHORT.name}",
        "queries": queries,
        "queries a second": round(a_second, 4),
        "tokens in, out of a query": (
            round(sum(one.prompt_tokens for one in usage) / queries, 1),
            round(sum(one.completion_tokens for one in usage) / queries, 1),
        ),
        **figures(measured, predict(plan, arrivals, sizes)),
    }


def main() -> None:
    """Measure."""
    if not PROFILE.exists():
        raise SystemExit(f"{PROFILE} is missing: python -m benchmarks.run pinned_profile")
    save("calibration", calibrate(QUERIES))


if __name__ == "__main__":
    if sys.argv[1:]:
        for key, value in calibrate(int(sys.argv[1])).items():
            print(f"{key}: {value}")
    else:
        main()
