"""The soak on the embedded engines, naive and advanced RAG in one pool: processes are killed and
stopped, and fail or end at bad items (``troubled_real``).

``python -m benchmarks.soak_real 60`` tries a minute of it and saves nothing.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack, suppress
from itertools import cycle
from random import Random
from typing import Any

from benchmarks.soaking import Side, Soak, problems, resident_mib
from benchmarks.troubled_real import KINDS, troubled
from teola.compiler.api import compile_workflow
from teola.runtime import EnginePool, Runner
from teola.runtime.events import EngineStatus
from teola.runtime.hosts import EngineHandle

REAL_S = 300.0
INSIDE = 8
"""Queries that a pool takes at once."""
BAD, REST_S = 0.2, 5.0
KILL_EVERY_S, STOPPED = 35.0, 0.25
"""How often a process is killed, and in which share of the cases it is stopped instead."""
SHORT = ("defaults.timeout=30s", "modules.answer.with.sampling={max_tokens: 8}")
WORKFLOWS = {
    "naive_rag": SHORT,
    "advanced_rag": (
        *SHORT,
        "modules.expand.with.sampling={max_tokens: 16}",
        "defaults.retry={max: 2}",
    ),
}
"""Without retries nothing hides that a query has failed for another's item."""


class Processes:
    """Those of a pool's engines, by kind: how often they came up again, what memory they have, and
    who ends or stops one of them now and then."""

    def __init__(self, seed: int) -> None:
        self.random = Random(f"killer:{seed}")  # noqa: S311 - no secret
        self.handles: dict[str, EngineHandle] = {}
        self.ready: set[str] = set()
        self.turns = cycle(KINDS)
        self.told: Counter[str] = Counter()
        self.looks: defaultdict[str, list[str]] = defaultdict(list)

    def wrap(self, handle: EngineHandle, config: Mapping[str, Any]) -> EngineHandle:
        """Remember an engine."""
        self.handles[config["kind"]] = handle
        return handle

    def note(self, status: EngineStatus) -> None:
        """Remember which are up."""
        change = self.ready.add if status.state == "ready" else self.ready.discard
        change(status.engine)

    @property
    def pids(self) -> dict[str, int]:
        """Those that are up, and have a process of their own."""
        found = {kind: getattr(self.handles[kind], "pid", None) for kind in sorted(self.ready)}
        return {kind: pid for kind, pid in found.items() if pid is not None}

    def look(self) -> None:
        """Note the memory, and how often each has begun again."""
        pids = self.pids
        for kind in KINDS:
            mib = f"{resident_mib(pids[kind])} MiB" if kind in pids else "down"
            self.looks[kind].append(f"{mib}, {self.handles[kind].epoch} restarts")

    async def kill(self) -> None:
        """One after the other, until it is cancelled."""
        while True:
            await asyncio.sleep(KILL_EVERY_S)
            kind = next(self.turns)
            if pid := self.pids.get(kind):
                stop = self.random.random() < STOPPED
                with suppress(ProcessLookupError):  # it has just ended at a bad item
                    os.kill(pid, signal.SIGSTOP if stop else signal.SIGKILL)
                self.told[f"{kind} {'stopped' if stop else 'killed'}"] += 1

    def figures(self) -> dict[str, Any]:
        """What was done and seen."""
        return {
            "faults": dict(sorted(self.told.items())),
            "engines after each third": dict(self.looks),
        }


def real(seconds: float = REAL_S, seed: int = 0) -> dict[str, Any]:
    """The soak on the embedded engines."""
    processes = Processes(seed)
    soak = Soak(seed, BAD, REST_S, processes.kill, processes.look)
    with troubled():
        left, rate = asyncio.run(_real(soak, processes, seconds))
    return {
        "queries a second": round(rate, 2),
        **processes.figures(),
        **soak.figures(left),
    }


async def _real(soak: Soak, processes: Processes, seconds: float) -> tuple[Sequence[str], float]:
    plans = [compile_workflow(name, sets=sets) for name, sets in WORKFLOWS.items()]
    async with AsyncExitStack() as stack:
        pool = await stack.enter_async_context(EnginePool(max_queries=INSIDE, wrap=processes.wrap))
        runners = [Runner(plan, pool=pool, share=False, on_engine=processes.note) for plan in plans]
        for runner in runners:
            await stack.enter_async_context(runner)
        rate = 2 * await _most(runners)
        sides = [
            Side(runner, _question, [kind for kind in plan.graph.engines if kind in KINDS])
            for runner, plan in zip(runners, plans, strict=True)
        ]
        await soak.run(sides, rate, seconds)
        return await pool.inspect(), rate


async def _most(runners: Sequence[Runner]) -> float:
    """Queries a second that the engines can do, as many at once as the pool takes."""
    await asyncio.gather(*(runner.run(**_question(-1)) for runner in runners))
    began = time.perf_counter()
    asked = (runners[one % len(runners)].run(**_question(-2 - one)) for one in range(INSIDE))
    await asyncio.gather(*asked)
    return INSIDE / (time.perf_counter() - began)


def _question(number: int) -> dict[str, Any]:
    """Three short documents of its own, and what they say."""
    names = [f"ship {number}-{letter}" for letter in "abc"]
    documents = [
        {"name": name, "text": f"The {name} left port with {len(name)} sailors and a cook."}
        for name in names
    ]
    return {"documents": documents, "question": f"How many sailors were on {names[1]}?"}


if __name__ == "__main__":
    found = real(float(sys.argv[1]))
    for key, value in found.items():
        print(f"{key}: {value}")
    for wrong in problems(found):
        print(f"WRONG: {wrong}")
