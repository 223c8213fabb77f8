"""The scheduler's cost for one primitive, with engines that return at once.

Target (the runtime's issue): at most 100 microseconds a primitive on one core, 1,000 concurrent
queries, in a process that collects garbage rarely, as `teola run --batch` does. With -O2 a
primitive may run in several groups, each queued and batched by itself: how many is told, too.
"""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from contextlib import nullcontext
from itertools import product
from typing import Any
from unittest.mock import patch

from benchmarks.instant import InstantHandle
from benchmarks.report import save, spread
from teola.compiler.api import compile_workflow
from teola.runtime import EnginePool, Runner
from teola.runtime.collector import rare_collection
from teola.runtime.graph_scheduler import GraphScheduler

QUERIES = 1000
REPEATS = 9
LEVELS = "O1", "O2"
FAKES = tuple(
    f"engines.{name}={{kind: {kind}, backend: fake}}"
    for name, kind in (
        ("llm", "llm"),
        ("embedder", "embedder"),
        ("reranker", "reranker"),
        ("store", "store"),
    )
)


async def measure(level: str, share: bool) -> tuple[float, int]:
    """Seconds of processor time for QUERIES concurrent queries, and the primitives they ran."""
    plan = compile_workflow("advanced_rag", level=level, sets=FAKES)
    documents = [{"name": "d", "text": "a short text"}]
    async with (
        EnginePool(wrap=lambda *_: InstantHandle()) as pool,
        Runner(plan, pool=pool, share=share) as runner,
    ):
        await runner.run(question="warm", documents=documents)
        start = time.process_time()
        results = await asyncio.gather(
            *(runner.run(question=f"question {i}", documents=documents) for i in range(QUERIES))
        )
        seconds = time.process_time() - start
    return seconds, sum(len(result.timeline) for result in results)


def groups(level: str, share: bool) -> int:
    """How many groups of primitives are executed meanwhile."""
    execute = GraphScheduler.execute
    with patch.object(GraphScheduler, "execute", autospec=True, side_effect=execute) as counted:
        asyncio.run(measure(level, share))
    return int(counted.call_count)


def main() -> None:
    """Measure without and with groups and warm-ups, with and without sharing by content, in turns:
    machines have slow minutes."""
    figures: dict[str, Any] = {}
    costs: defaultdict[str, list[float]] = defaultdict(list)
    for _, level, share, rare in product(range(REPEATS), LEVELS, (True, False), (True, False)):
        with rare_collection() if rare else nullcontext():
            seconds, primitives = asyncio.run(measure(level, share))
        name = f"-{level}, sharing {'on' if share else 'off'}"
        collected = "" if rare else ", garbage collected as often as Python does"
        costs[f"{name}{collected}"].append(seconds / primitives * 1e6)
        figures[f"primitives run, {name}"] = primitives
    for name, found in costs.items():
        figures[f"microseconds a primitive, {name}"] = spread(found, 1)
    for level, share in product(LEVELS, (True, False)):
        name = f"-{level}, sharing {'on' if share else 'off'}"
        figures[f"groups executed, {name}"] = groups(level, share)
    figures["concurrent queries"] = QUERIES
    figures["target microseconds"] = 100
    save("scheduler", figures)


if __name__ == "__main__":
    main()
