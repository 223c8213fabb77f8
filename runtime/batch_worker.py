"""A replica at work on batches: it takes one, runs it, hands the results out, takes the next."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from math import inf
from typing import Any, Protocol, TypeAlias

from teola.runtime.bisection import Bisection
from teola.runtime.circuit import Circuit
from teola.runtime.engines.protocol import Counted, Failure, Request
from teola.runtime.errors import ModuleError
from teola.runtime.faults import failure_of, may_be_an_item
from teola.runtime.hosts.errors import EngineDied
from teola.runtime.item_budget import ItemBudget
from teola.runtime.observing.engine_watch import EngineWatch
from teola.runtime.policies import Policy
from teola.runtime.sent import Sent, count, put_back
from teola.runtime.task import Task
from teola.runtime.turn import Turn
from teola.runtime.watchdog import GRACE_S, Watchdog

Results: TypeAlias = Sequence[Sequence[Any] | Failure]
FULL_S = 0.05
MOST_FULL_S = 2.0
"""A replica whose engine is full is left alone for FULL_S, twice as long each time it still is, and
never for less than it has asked for."""

HUNG = f"it hangs: a batch is not back {GRACE_S:g} s after the last of its tasks timed out"


class Runs(Protocol):
    """What runs batches: a replica of an engine, through its host."""

    async def run(self, batch: Sequence[Request]) -> Results:
        """See ``BatchEngine.run``."""
        ...


class Source(Protocol):
    """Where a worker takes its batches from."""

    queue: Policy
    turn: Turn

    def next_batch(self, worker: BatchWorker) -> list[Sent] | None:
        """What a replica does next; what it did before is done."""
        ...

    def died(self, worker: BatchWorker, batch: Sequence[Sent], message: str) -> None:
        """The engine has died while it ran a batch."""
        ...

    def rest(self, worker: BatchWorker) -> None:
        """A replica has nothing to do, or is gone."""
        ...

    def wake(self) -> None:
        """Something may be left for others."""
        ...


class BatchWorker:
    """``sent`` are the tasks of the batch that is served, ``running`` is done when the engine gives
    it back. ``gone``: it takes no more; ``worked``: it has been of use since it came up. An engine
    that does not give back a batch which nobody waits for any more is ``lost``."""

    def __init__(
        self,
        source: Source,
        engine: Runs,
        budget: ItemBudget,
        circuit: Circuit,
        lost: Callable[[str], None],
        watch: EngineWatch,
    ) -> None:
        self.source, self.engine, self.watch = source, engine, watch
        self.budget, self.circuit = budget, circuit
        self.job: asyncio.Task[None] | None = None
        self.running: asyncio.Future[Results | Exception] | None = None
        self.batch: Sequence[Sent] = ()
        self.sent: list[Task] = []
        self.gone = self.worked = False
        self.watchdog = Watchdog(self._stalled, partial(lost, HUNG))
        self._full_s = self._began_s = 0.0

    def begin(self) -> None:
        """Work until nothing waits."""
        self.job = asyncio.get_running_loop().create_task(self._work())
        self.job.add_done_callback(self._rest)

    def _rest(self, job: asyncio.Task[None]) -> None:
        self.job = None
        if not job.cancelled():
            job.result()
            self.source.rest(self)

    async def _work(self) -> None:
        while not self.gone and (batch := self.source.next_batch(self)):
            self.source.wake()
            await self._serve(batch)
            if self._full_s and not self.gone:
                self.source.wake()
                await asyncio.sleep(self._full_s)

    async def _serve(self, batch: list[Sent]) -> None:
        """Run a batch, and parts of it again where the engine raises: some items may be well."""
        self.sent = [part.task for part in batch]
        error = await self._run(batch)
        if error is not None:
            search = Bisection(batch, error)
            while not self.gone and (part := search.next()) is not None:
                error = await self._run(part)
                if not self.gone:
                    search.ran(part, error)
            search.end(self.source.queue)
        self.sent = []

    async def _run(self, batch: Sequence[Sent]) -> Exception | None:
        """Run a batch and hand out what comes of it. An exception that an item may be the cause of
        is returned."""
        waiting = self.source.queue
        watched = self.watch.open(batch, len(waiting)) if self.watch else None
        self.batch, self._began_s = batch, asyncio.get_running_loop().time()
        self.running = asyncio.ensure_future(self._call(batch))
        self.watchdog.watch()
        try:
            found = await self.running
        finally:
            self.watchdog.rest()
            self.running, self.batch = None, ()
        results = [failure_of(found)] * len(batch) if isinstance(found, Exception) else found
        if watched is not None:
            self.watch.close(watched, results, len(waiting))
        if isinstance(found, EngineDied):
            self.gone = True
            self.source.died(self, batch, str(found))
        elif isinstance(found, Exception) and may_be_an_item(found):
            return found
        else:
            with self.source.turn:
                self._deliver(batch, results)
        return None

    async def _call(self, batch: Sequence[Sent]) -> Results | Exception:
        requests = [part.request for part in batch]
        try:
            results = await self.engine.run(requests)
        except Exception as error:  # noqa: BLE001 - whatever an engine raises becomes the tasks' error
            return error
        self.worked = True
        self.circuit.worked()
        wrong = _wrong(requests, results)
        return [Failure("engine", wrong)] * len(requests) if wrong else results

    def _deliver(self, batch: Sequence[Sent], results: Results) -> None:
        """Hand results out. What there was no memory or no room for goes back to the queue; an item
        that there is no memory for alone has failed."""
        items, left = count(batch), []
        kinds: set[str] = set()
        tokens = results.tokens if isinstance(results, Counted) else [()] * len(batch)
        for part, result, counts in zip(batch, results, tokens, strict=True):
            smaller = items > 1 and part.repeatable
            found = part.deliver(result, counts, ("full", "memory") if smaller else ("full",))
            if found:
                left.append(part.only([*found]))
                kinds.update(failure.kind for failure in found.values())
        put_back(left, self.source.queue)
        if "memory" in kinds:
            self.budget.halve(items)
        elif items == 1 and _lacks_memory(results[0]):
            self.budget.blame()
        elif not kinds:
            self.budget.done(items)
        full_s = min(MOST_FULL_S, 2 * self._full_s or FULL_S) if "full" in kinds else 0.0
        self._full_s = max(
            full_s, *(one.after_s for one in results if isinstance(one, Failure)), 0.0
        )

    def _stalled(self) -> bool:
        """Whether nobody waits any more for what runs, and a clock of it has run out, or would have
        by now, had its query not ended before."""
        if any(part.wanted for part in self.batch):
            return False
        ran_s = asyncio.get_running_loop().time() - self._began_s
        clocks = ((part.task.lapsed, part.task.limits.timeout_s) for part in self.batch)
        return any(lapsed or (limit_s or inf) <= ran_s for lapsed, limit_s in clocks)

    def fail(self, reason: str) -> None:
        """The engine will not come back: what it runs fails."""
        sent, self.sent = self.sent, []
        for task in sent:
            task.fail(ModuleError(task.place, reason))

    async def close(self) -> None:
        """Stop."""
        self.gone = True
        if self.job is not None:
            self.job.cancel()
            await asyncio.gather(self.job, return_exceptions=True)


def _lacks_memory(result: Sequence[Any] | Failure) -> bool:
    """Whether a request has failed for memory, or its only item has."""
    found = result if isinstance(result, Failure) else result[0]
    return isinstance(found, Failure) and found.kind == "memory"


def _wrong(requests: Sequence[Request], results: Results) -> str | None:
    """An engine gives one result a request, and one an item: what else it gave."""
    if len(results) != len(requests):
        return f"the engine gave {len(results)} results for {len(requests)} requests"
    for request, result in zip(requests, results, strict=True):
        if not isinstance(result, Failure) and len(result) != len(request.items):
            return f"the engine gave {len(result)} results for {len(request.items)} items"
    return None
