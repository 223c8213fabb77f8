"""Policies under load on a GPU: advanced RAG (-O2), Poisson arrivals, one pool for each policy.

All policies get the same queries at the same times, at 70 % of the rate at which the GPU works
through queries that come at once.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Sequence
from typing import Any

from benchmarks.gpu.bench import Bench
from benchmarks.workloads import WORKLOADS, Workload
from teola.compiler.api import compile_workflow
from teola.compiler.plan import Plan
from teola.runtime import Runner
from teola.runtime.pool import EnginePool
from teola.runtime.simulation.arrivals import poisson

POLICIES = ("remaining-work", "topology", "throughput")
WORKFLOW = "advanced_rag"
LOAD = 0.7
AT_ONCE = 12
SECONDS = 20.0
"""How long queries arrive."""
TINY = Workload("tiny", 6, 8, 8)


def main(bench: Bench) -> None:
    """Measure."""
    lengths = TINY if bench.dry else WORKLOADS[0]
    plan = compile_workflow(WORKFLOW, sets=bench.sets(WORKFLOW, lengths))
    at_once = 2 if bench.dry else AT_ONCE
    rate, found = 0.0, {}
    for policy in POLICIES:
        report, rate = asyncio.run(measure(bench, plan, lengths, policy, rate, at_once))
        found[policy] = report
        print(f"  {policy}: {report}", flush=True)
    bench.save("policies", {"queries a second": round(rate, 3), "load": LOAD, "seconds": found})


async def measure(
    bench: Bench, plan: Plan, lengths: Workload, policy: str, rate: float, at_once: int
) -> tuple[dict[str, Any], float]:
    """Latencies of one policy; the first one also says at which rate queries come."""
    async with EnginePool(policy=policy) as pool:
        numbers = range(at_once)
        await together(pool, plan, lengths, [0.0] * (1 if bench.dry else 2), numbers)  # warms up
        if not rate:
            begin = time.perf_counter()
            await together(pool, plan, lengths, [0.0] * at_once, numbers)
            rate = LOAD * at_once / (time.perf_counter() - begin)
        count = 2 if bench.dry else max(8, int(rate * SECONDS))
        latencies = await together(pool, plan, lengths, poisson(rate, count, seed=1), range(count))
    ranked = sorted(latencies)
    return {
        "mean": round(statistics.mean(ranked), 3),
        "p50": round(statistics.median(ranked), 3),
        "p95": round(ranked[min(int(0.95 * count), count - 1)], 3),
        "most": round(ranked[-1], 3),
        "queries": count,
    }, rate


async def together(
    pool: EnginePool,
    plan: Plan,
    lengths: Workload,
    arrivals: Sequence[float],
    numbers: Sequence[int],
) -> list[float]:
    """Seconds that each query takes that comes at its time."""
    async with Runner(plan, pool=pool, share=False) as runner:
        loop = asyncio.get_running_loop()
        start = loop.time()

        async def one(number: int, at_s: float) -> float:
            await asyncio.sleep(max(0.0, start + at_s - loop.time()))
            begin = loop.time()
            await runner.run(**lengths.inputs(number))
            return loop.time() - begin

        return await asyncio.gather(*map(one, numbers, arrivals))
