"""The soak: mixed queries at twice what engines can do, some cancelled, while engines raise, run
out of memory, are full, hang and die; and then: is every query accounted for, is anything left, has
memory grown?

``python -m benchmarks.run soak``: naive and advanced RAG for 30 virtual minutes on simulated
engines (``benchmarks.troubled``, costs and lengths of ``benchmarks.load``), two replicas each, and
then for five real minutes on the embedded engines, whose processes are killed and stopped.
"""

from __future__ import annotations

import asyncio
import gc
import os
import resource
import signal
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random
from typing import Any

from benchmarks.load import profile
from benchmarks.report import save
from benchmarks.troubled import Trouble, install
from teola.compiler.api import compile_workflow
from teola.compiler.cost.sizes import parse_sizes
from teola.compiler.plan import Plan
from teola.runtime import EnginePool, Runner
from teola.runtime.errors import QueryCancelled, RunError
from teola.runtime.hosts import EngineHandle
from teola.runtime.observing.error_code import error_code
from teola.runtime.simulation import Workload, poisson, simulate
from teola.runtime.simulation.clock import run_virtually
from teola.runtime.simulation.stand_in import simulated
from teola.runtime.simulation.workload import Application, Inputs

WORKFLOWS = ("naive_rag", "advanced_rag")
VIRTUAL_S, REAL_S = 1800.0, 300.0
CANCELLED = 0.05
INSIDE = 64
"""Queries that a pool takes at once."""
LOOKS = 30
"""How often memory is looked at."""
QUIET_S = 400.0
"""Longer than any timeout, restart or watchdog: by then all must have ended."""
LIMITS = ("defaults.timeout=60s", "defaults.retry={max: 2}")
REAL_LIMITS = (*LIMITS, "modules.answer.with.sampling={max_tokens: 8}")
Questions = Callable[[int], Mapping[str, Any]]
"""The inputs of the query of a number."""


class Soak:
    """What came, what became of it, and how much memory there was meanwhile."""

    def __init__(self, seed: int = 0) -> None:
        self.random = Random(f"soak:{seed}")  # noqa: S311 - no secret
        self.outcomes: Counter[str] = Counter()
        self.queries: set[asyncio.Task[None]] = set()
        self.resident: list[int] = []
        self.objects: list[int] = []
        self.came = 0

    async def run(
        self, sides: Sequence[tuple[Runner, Questions]], rate: float, seconds: float
    ) -> None:
        """Let queries come for so long, then wait until the last one has ended."""
        arrivals = [one for one in poisson(rate, round(rate * seconds)) if one < seconds]
        began, looks = _now(), seconds / LOOKS
        for number, at_s in enumerate(arrivals):
            await asyncio.sleep(max(0.0, began + at_s - _now()))
            if at_s >= looks * len(self.resident):
                self._look()
            runner, question = sides[number % len(sides)]
            self.came += 1
            self._send(runner, question(number))
        if self.queries:
            await asyncio.wait(self.queries, timeout=QUIET_S)
        self._look()

    def _send(self, runner: Runner, inputs: Mapping[str, Any]) -> None:
        query = asyncio.get_running_loop().create_task(self._query(runner, inputs))
        self.queries.add(query)
        query.add_done_callback(self.queries.discard)
        if self.random.random() < CANCELLED:
            asyncio.get_running_loop().call_later(self.random.expovariate(0.1), query.cancel)

    async def _query(self, runner: Runner, inputs: Mapping[str, Any]) -> None:
        try:
            await runner.run(**inputs)
        except asyncio.CancelledError:
            self.outcomes["cancelled by its caller"] += 1
        except QueryCancelled:
            self.outcomes["cancelled by the runner"] += 1
        except RunError as error:
            self.outcomes[error_code(error)] += 1
        else:
            self.outcomes["done"] += 1

    def _look(self) -> None:
        gc.collect()
        self.objects.append(len(gc.get_objects()))
        pages = int(Path("/proc/self/statm").read_text("ascii").split()[1])
        self.resident.append(pages * resource.getpagesize() // 1024)

    def figures(self, left: Sequence[str]) -> dict[str, Any]:
        """The account."""
        third = len(self.resident) // 3
        return {
            "queries": self.came,
            "outcomes": dict(sorted(self.outcomes.items())),
            "not accounted for": self.came - sum(self.outcomes.values()),
            "left over": list(left),
            "resident MiB, after one third / at the end": [
                round(self.resident[third] / 1024, 1),
                round(self.resident[-1] / 1024, 1),
            ],
            "Python objects, after one third / at the end": [self.objects[third], self.objects[-1]],
        }


def virtual(seconds: float = VIRTUAL_S, seed: int = 0) -> dict[str, Any]:
    """The soak on simulated engines."""
    trouble = install(seed)
    with tempfile.TemporaryDirectory() as folder:
        costs = profile(Path(folder))
        applications = [_application(name, costs) for name in WORKFLOWS]
        rate = 2 * _most(applications[-1], costs)
        plans = simulated(applications, costs, dict.fromkeys(("llm", "embedder", "store"), 2))
        soak = Soak(seed)
        left = run_virtually(_virtual(soak, applications, plans, rate, seconds))
    return {"queries a second": round(rate, 2), "faults": _told(trouble), **soak.figures(left)}


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
            questions = [
                Inputs(one.plan.graph, one.workload, one.name).of_query for one in applications
            ]
            await soak.run([*zip(runners, questions, strict=True)], rate, seconds)
            await asyncio.sleep(QUIET_S)
            return pool.check_integrity()


def _application(name: str, costs: Path) -> Application:
    plan = compile_workflow(name, sets=LIMITS, profile=costs)
    sizes = parse_sizes(["documents=1", "chunks.chunk=48"], plan.graph)
    return Application(plan, Workload((0.0,), sizes), name)


def _most(application: Application, costs: Path) -> float:
    """Queries a second that two replicas of each engine can do at most."""
    crowd = Workload((0.0,) * 30, application.workload.sizes)
    plan = compile_workflow(application.name, sets=("defaults.timeout=10h",), profile=costs)
    report = simulate(plan, crowd, profile=costs, policy="throughput")
    return 2 * 30 / max(float(engine.busy_s) for engine in report.engines)


def _told(trouble: Trouble) -> dict[str, int]:
    return dict(sorted(trouble.told.items()))


class Killer:
    """Ends or stops the processes of a pool's engines, one now and then."""

    def __init__(self, seed: int, every_s: float) -> None:
        self.random, self.every_s = Random(f"killer:{seed}"), every_s  # noqa: S311 - no secret
        self.handles: list[EngineHandle] = []
        self.told: Counter[str] = Counter()

    def wrap(self, handle: EngineHandle, _: Mapping[str, Any]) -> EngineHandle:
        """Remember a replica."""
        self.handles.append(handle)
        return handle

    async def run(self) -> None:
        """Until it is cancelled."""
        while True:
            await asyncio.sleep(self.every_s)
            pids = [pid for handle in self.handles if (pid := getattr(handle, "pid", None))]
            if pids:
                stop = self.random.random() < 0.25
                os.kill(self.random.choice(pids), signal.SIGSTOP if stop else signal.SIGKILL)
                self.told["stopped" if stop else "killed"] += 1


def real(seconds: float = REAL_S, seed: int = 0) -> dict[str, Any]:
    """The soak on the embedded engines."""
    killer, soak = Killer(seed, seconds / 8), Soak(seed)
    plan = compile_workflow("naive_rag", sets=REAL_LIMITS)
    left, rate = asyncio.run(_real(soak, killer, plan, seconds))
    told = dict(sorted(killer.told.items()))
    return {"queries a second": round(rate, 2), "faults": told, **soak.figures(left)}


async def _real(
    soak: Soak, killer: Killer, plan: Plan, seconds: float
) -> tuple[Sequence[str], float]:
    pool = EnginePool(max_queries=INSIDE // 8, wrap=killer.wrap)
    async with pool, Runner(plan, pool=pool, share=False) as runner:
        await runner.run(**_question(-1))
        began, together = time.perf_counter(), 4
        await asyncio.gather(*(runner.run(**_question(-2 - one)) for one in range(together)))
        rate = 2 * together / (time.perf_counter() - began)
        killing = asyncio.create_task(killer.run())
        await soak.run([(runner, _question)], rate, seconds)
        killing.cancel()
        await asyncio.gather(killing, return_exceptions=True)
        await asyncio.sleep(5)
        return pool.check_integrity(), rate


def _question(number: int) -> dict[str, Any]:
    """Three short documents of its own, and what they say."""
    names = [f"ship {number}-{letter}" for letter in "abc"]
    documents = [
        {"name": name, "text": f"The {name} left port with {len(name)} sailors and a cook."}
        for name in names
    ]
    return {"documents": documents, "question": f"How many sailors were on {names[1]}?"}


@asynccontextmanager
async def _all(runners: Sequence[Runner]) -> AsyncIterator[None]:
    for runner in runners:
        await runner.start()
    try:
        yield
    finally:
        for runner in runners:
            await runner.close()


def _now() -> float:
    return asyncio.get_running_loop().time()


def main() -> None:
    """Both."""
    figures = {f"virtual, {VIRTUAL_S:g} s": virtual(), f"real, {REAL_S:g} s": real()}
    save("soak", figures)
    for name, found in figures.items():
        if found["not accounted for"] or found["left over"]:
            raise SystemExit(f"{name}: {found}")


if __name__ == "__main__":
    main()
