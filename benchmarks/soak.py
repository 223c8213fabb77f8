"""The soak: mixed queries at twice what engines can do, some cancelled and some with a bad item
(``bad_items``), while engines raise, run out of memory, are full, hang and die; and then: is every
query accounted for, has one failed for another's item, is anything left, has memory grown?

``python -m benchmarks.run soak``: naive and advanced RAG for 30 virtual minutes on simulated
engines (``benchmarks.troubled``, costs and lengths of ``benchmarks.load``), and then
for five real minutes on the embedded engines (``benchmarks.soak_real``).
"""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.load import profile
from benchmarks.report import save
from benchmarks.soak_real import REAL_S, real
from benchmarks.soaking import Side, Soak, problems
from benchmarks.troubled import troubled
from teola.compiler.api import compile_workflow
from teola.compiler.cost.sizes import parse_sizes
from teola.compiler.plan import Plan
from teola.runtime import EnginePool, Runner
from teola.runtime.simulation import Workload, simulate_together
from teola.runtime.simulation.clock import run_virtually
from teola.runtime.simulation.stand_in import simulated
from teola.runtime.simulation.workload import Application, Inputs

WORKFLOWS = {
    "naive_rag": ("engines.embedder.batch_size=96",),
    "advanced_rag": (
        "engines.embedder.batch_size=96",
        "defaults.timeout=60s",
        "defaults.retry={max: 2}",
    ),
}
"""Without retries nothing hides that a query has failed for another's item."""
REPLICAS = {"llm": 8, "embedder": 2, "reranker": 2, "store": 2}
"""So that queries wait for embedders, whose batches then have items of several."""
VIRTUAL_S = 1800.0
INSIDE = 64
"""Queries that a pool takes at once."""
BAD, REST_S = 0.1, 60.0
PATIENT = "defaults.timeout=10h"
CROWD = 30
"""Queries of each workflow that show what engines can do."""


def virtual(seconds: float = VIRTUAL_S, seed: int = 0) -> dict[str, Any]:
    """The soak on simulated engines."""
    soak = Soak(seed, BAD, REST_S)
    with tempfile.TemporaryDirectory() as folder:
        costs = profile(Path(folder))
        applications = [_application(name, costs, sets) for name, sets in WORKFLOWS.items()]
        crowd = [_application(name, costs, (*sets, PATIENT)) for name, sets in WORKFLOWS.items()]
        rate = 2 * _most(crowd, costs)
        plans = simulated(applications, costs, REPLICAS)
        with troubled(seed) as trouble:
            left = run_virtually(_virtual(soak, applications, plans, rate, seconds))
    told = dict(sorted(trouble.told.items()))
    return {"queries a second": round(rate, 2), "faults": told, **soak.figures(left)}


async def _virtual(
    soak: Soak,
    applications: Sequence[Application],
    plans: Sequence[Plan],
    rate: float,
    seconds: float,
) -> Sequence[str]:
    async with EnginePool(max_queries=INSIDE) as pool:
        runners = [Runner(plan, pool=pool, share=False) for plan in plans]
        async with _all(runners):
            sides = [
                Side(
                    runner,
                    Inputs(plan.graph, one.workload, one.name).of_query,
                    [*plan.graph.engines],
                )
                for runner, plan, one in zip(runners, plans, applications, strict=True)
            ]
            await soak.run(sides, rate, seconds)
            return await pool.inspect()


def _application(name: str, costs: Path, sets: Sequence[str]) -> Application:
    plan = compile_workflow(name, sets=sets, profile=costs)
    sizes = parse_sizes(["documents=1", "chunks.chunk=48"], plan.graph)
    return Application(plan, Workload((0.0,), sizes), name)


def _most(applications: Sequence[Application], costs: Path) -> float:
    """Queries a second that the engines can do, as many of each workflow."""
    crowd = [
        replace(one, workload=replace(one.workload, arrivals=(0.0,) * CROWD))
        for one in applications
    ]
    report = simulate_together(crowd, profile=costs, policy="throughput", replicas=REPLICAS)
    if report.failures:
        raise SystemExit(f"queries failed: {report.failures}")
    busy = max(engine.busy_s / engine.replicas for engine in report.engines)
    return float(CROWD * len(crowd) / busy)


@asynccontextmanager
async def _all(runners: Sequence[Runner]) -> AsyncIterator[None]:
    for runner in runners:
        await runner.start()
    try:
        yield
    finally:
        for runner in runners:
            await runner.close()


def main() -> None:
    """Both."""
    figures = {f"virtual, {VIRTUAL_S:g} s": virtual(), f"real, {REAL_S:g} s": real()}
    save("soak", figures)
    for name, found in figures.items():
        if wrong := problems(found):
            raise SystemExit(f"{name}: {'; '.join(wrong)}")


if __name__ == "__main__":
    main()
