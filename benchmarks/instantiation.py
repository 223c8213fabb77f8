"""What a query costs before anything of it runs: its instance of the plan (advanced_rag, -O2).

Target (the optimizer's issue): at most 300 microseconds a query.
"""

from __future__ import annotations

import asyncio
import gc
import time
from typing import Any
from unittest.mock import patch

from benchmarks.instant import InstantHandle
from benchmarks.report import save, spread
from benchmarks.scheduler import FAKES
from teola.compiler.api import compile_workflow
from teola.compiler.plan import Plan
from teola.runtime import EnginePool, Runner
from teola.runtime.collector import rare_collection
from teola.runtime.graph_scheduler import GraphScheduler
from teola.runtime.instance.query import Query
from teola.runtime.values import Cell

QUERIES = 300
REPEATS = 5


class NeverReady(InstantHandle):
    """An engine that does not start: nothing of a query runs on it."""

    async def start(self) -> Any:
        """Wait until the pool closes."""
        return await self.died


class Timed(GraphScheduler):
    """Adds up the processor time of ``start``; what could run at once waits until it is over."""

    seconds = 0.0
    queries = 0
    all_started: asyncio.Event

    def start(self, query: Query, inputs: dict[str, Cell]) -> None:
        begin = time.process_time()
        turn = self.pool.turn
        with turn:
            super().start(query, inputs)
            turn.actions.popleft()()
            Timed.seconds += time.process_time() - begin
        Timed.queries += 1
        if Timed.queries == QUERIES:
            Timed.all_started.set()


async def measure(level: str, share: bool) -> float:
    """Microseconds a query."""
    plan = compile_workflow("advanced_rag", level=level, sets=FAKES)
    documents = [{"name": "d", "text": "a short text"}]
    Timed.seconds, Timed.queries, Timed.all_started = 0.0, 0, asyncio.Event()
    gc.collect()
    with patch("teola.runtime.runner.GraphScheduler", Timed):
        return await _started(plan, documents, share)


async def _started(plan: Plan, documents: list[dict[str, str]], share: bool) -> float:
    """Begin QUERIES queries, and cancel them."""
    async with (
        EnginePool(wrap=lambda *_: NeverReady()) as pool,
        Runner(plan, pool=pool, share=share) as runner,
    ):
        runs = [
            asyncio.ensure_future(runner.run(question=f"q{i}", documents=documents))
            for i in range(QUERIES)
        ]
        await Timed.all_started.wait()
        for run in runs:
            run.cancel()
        await asyncio.gather(*runs, return_exceptions=True)
    return Timed.seconds / QUERIES * 1e6


def main() -> None:
    """Measure both levels, with and without sharing by content."""
    figures: dict[str, Any] = {"target microseconds": 300, "queries": QUERIES}
    for level in ("O0", "O2"):
        for share in (True, False):
            name = f"microseconds a query, -{level}, sharing {'on' if share else 'off'}"
            costs = [asyncio.run(measure(level, share)) for _ in range(REPEATS)]
            figures[f"{name}, garbage collected as often as Python does"] = spread(costs, 1)
            with rare_collection():
                costs = [asyncio.run(measure(level, share)) for _ in range(REPEATS)]
            figures[name] = spread(costs, 1)
    save("instantiation", figures)


if __name__ == "__main__":
    main()
