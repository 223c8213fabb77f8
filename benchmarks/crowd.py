"""Ten thousand queries of advanced_rag at once in one process: memory, and what decisions cost.

Engines are simulated and the clock is virtual, schedulers and policies are those of real runs. All
queries come at the same moment and ask about the same documents, which are indexed once.

A query holds the passages that it has found until they are reranked, up to 64 of 256 tokens. Their
text is the workload's, not the runtime's: memory is measured with whole passages and with short
ones.

Targets (the runtime's issue): at most 60 KiB a query; a decision grows no faster than the logarithm
of the queue.
"""

from __future__ import annotations

import asyncio
import gc
import math
import resource
import time
import tracemalloc
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from benchmarks.report import save, spread
from teola.compiler.api import compile_workflow
from teola.compiler.plan import Plan
from teola.runtime.collector import rare_collection
from teola.runtime.engines.protocol import Capabilities, Generate, TokenEvent
from teola.runtime.errors import ModuleError, Place
from teola.runtime.limits import Limits
from teola.runtime.llm.replica import LLMReplica
from teola.runtime.llm.scheduler import LLMScheduler
from teola.runtime.llm.task import LLMTask
from teola.runtime.policies import POLICIES, Budget, Policy, RemainingWork
from teola.runtime.rank import Rank
from teola.runtime.simulation import Workload, simulate
from teola.runtime.task import Task

QUERIES = 10_000
PASSAGES = 16, 256
"""Tokens."""
TRACED = 1_000, 3_000
"""Between these numbers of queries the growth of traced memory is measured."""
QUEUES = 100, 1_000, 10_000, 100_000
DECISIONS = 2_000
BATCH = 16
REPEATS = 5
PLACE = Place("crowd", "module", 0, "primitive", "engine")


def main() -> None:
    """Measure all."""
    figures: dict[str, Any] = {"queries": QUERIES, "target KiB a query": 60}
    for tokens in PASSAGES:
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as fresh:
            for name, figure in fresh.submit(memory, tokens).result().items():
                figures[f"{name}, passages of {tokens} tokens"] = figure
    figures.update(decisions())
    figures.update(calls())
    save("crowd", figures)


def plan_of(tokens: int) -> Plan:
    """The workflow, with chunks of so many tokens and no end of patience."""
    sets = (f"modules.chunks.with.size={tokens}", "modules.chunks.with.overlap=0")
    return compile_workflow("advanced_rag", sets=(*sets, "defaults.timeout=700h"))


def crowd(plan: Plan, queries: int) -> float:
    """Run so many queries that come at once; seconds of processor time."""
    gc.collect()
    begin = time.process_time()
    report = simulate(plan, Workload((0.0,) * queries, same=frozenset({"documents"})))
    if report.done != queries:
        raise RuntimeError(f"{report.failures} of {queries} queries failed")
    return time.process_time() - begin


def memory(tokens: int) -> dict[str, Any]:
    """KiB a query with passages of so many tokens, in a process that did nothing else: of the
    process at its largest, and of what Python allocates."""
    with rare_collection():
        plan = plan_of(tokens)
        crowd(plan, 100)
        before = _resident_kib()
        seconds = crowd(plan, QUERIES)
        resident = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / QUERIES
        few, many = (_traced_kib(plan, queries) for queries in TRACED)
    return {
        "resident KiB a query": round(resident, 1),
        "traced KiB a query": round((many - few) / (TRACED[1] - TRACED[0]), 1),
        "milliseconds of processor time a query": round(seconds / QUERIES * 1000, 2),
    }


def _resident_kib() -> float:
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * resource.getpagesize() / 1024


def _traced_kib(plan: Plan, queries: int) -> float:
    tracemalloc.start()
    crowd(plan, queries)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return peak / 1024


def decisions() -> dict[str, Any]:
    """Microseconds to queue a task and take one, where so many wait, for every policy."""
    figures: dict[str, Any] = {}
    for name, policy in POLICIES.items():
        found = {n: [_decision_us(policy(), n) for _ in range(REPEATS)] for n in QUEUES}
        for waiting, costs in found.items():
            figures[f"microseconds a task, {name}, {waiting} waiting"] = spread(costs, 2)
        least = [min(found[n]) for n in (QUEUES[0], QUEUES[-1])]
        growth = math.log(QUEUES[-1]) / math.log(QUEUES[0])
        figures[f"growth of {name} (logarithm: {growth:g})"] = round(least[1] / least[0], 2)
    return figures


def _decision_us(policy: Policy, waiting: int) -> float:
    tasks = list(_tasks(waiting + DECISIONS + BATCH))
    for task in tasks[:waiting]:
        policy.add(task)
    coming = iter(tasks[waiting:])
    gc.collect()
    taken, begin = 0, time.process_time()
    while taken < DECISIONS:
        batch = policy.next_batch(Budget(BATCH)) or []
        taken += len(batch)
        for _ in batch:
            policy.add(next(coming))
    return (time.process_time() - begin) / taken * 1e6


def calls() -> dict[str, Any]:
    """Microseconds from a call that ends to the next one that is sent, where so many calls wait, of
    which every four begin alike, for an LLM that runs 16 at once and keeps prefixes."""
    found = {n: [asyncio.run(_call_us(n)) for _ in range(REPEATS)] for n in QUEUES[:-1]}
    figures: dict[str, Any] = {}
    for waiting, costs in found.items():
        figures[f"microseconds a call, {waiting} waiting"] = spread(costs, 2)
    least = [min(costs) for costs in found.values()]
    growth = math.log(QUEUES[-2]) / math.log(QUEUES[0])
    figures[f"growth of a call (logarithm: {growth:g})"] = round(least[-1] / least[0], 2)
    return figures


async def _call_us(waiting: int) -> float:
    scheduler, llm = LLMScheduler(RemainingWork()), _AtOnce(DECISIONS)
    for number in range(waiting + DECISIONS):
        prompt = [number // 4 % 1000, *([number] * 63)]
        task = LLMTask(prompt, 16, False, PLACE, Limits(), llm)
        task.rank = Rank(number, float(number), 1, 1000.0 * (number * 7919 % 13), 100.0)
        scheduler.submit(task)
    gc.collect()
    begin = time.process_time()
    llm.replica = scheduler.start(llm, llm.capabilities)
    await llm.answered.wait()
    seconds = time.process_time() - begin
    await scheduler.close()
    return seconds / llm.ended * 1e6


class _AtOnce:
    """An LLM that answers in one event, and the caller of its calls; until ``enough`` were."""

    capabilities = Capabilities(
        kv_tokens=1 << 30, max_requests=16, context=1 << 20, prefix_cache=True, block_tokens=16
    )

    def __init__(self, enough: int) -> None:
        self.enough, self.ended = enough, 0
        self.answered = asyncio.Event()
        self.replica: LLMReplica | None = None

    async def submit(self, requests: Sequence[Generate]) -> None:
        """Answer, unless that is enough."""
        if self.replica is not None and not self.answered.is_set():
            self.replica.events([TokenEvent(one.id, (1,), "stop") for one in requests])

    async def abort(self, ids: Sequence[str]) -> None:
        """Nothing runs."""

    def attempt(self) -> None:
        """See ``Call``."""

    def started(self) -> None:
        """See ``Call``."""

    def event(self, event: TokenEvent) -> None:
        """A call has ended."""
        self.ended += 1
        if self.ended == self.enough:
            self.answered.set()

    def left(self) -> bool:
        """See ``Call``."""
        return False

    def failed(self, error: ModuleError) -> None:
        """See ``Call``."""
        raise error


def _tasks(count: int) -> Iterable[Task]:
    """One a query, in every stage of a query, in no order that a policy could profit from."""
    for number in range(count):
        stage = number * 7919 % 13
        task = Task("embed", ("x",), {}, PLACE, Limits(), _nothing, _nothing)
        task.rank = Rank(number, float(number), stage, 1000.0 * stage, 100.0 * stage)
        yield task


def _nothing(_: object) -> None:
    """Nobody waits for it."""


if __name__ == "__main__":
    main()
