"""The lower tier for engines whose work is items: batches across queries."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, Protocol

from teola.runtime.engines.protocol import Counted, Failure, Request
from teola.runtime.errors import ModuleError
from teola.runtime.hosts.errors import EngineDied
from teola.runtime.policies import Budget, Policy, Slice
from teola.runtime.task import Task
from teola.runtime.task_queue import TaskQueue


class Runs(Protocol):
    """What runs batches: an engine through its host."""

    async def run(self, batch: Sequence[Request]) -> Sequence[Sequence[Any] | Failure]:
        """See ``BatchEngine.run``."""
        ...


class BatchScheduler(TaskQueue[Runs]):
    """One queue and one engine: ``next_batch``, ``run``, ``deliver``. Work-conserving."""

    def __init__(self, policy: Policy, max_items: int) -> None:
        super().__init__(policy)
        self.max_items = max_items
        self.worker: asyncio.Task[None] | None = None
        self.batches = 0
        self.running: asyncio.Future[Any] | None = None
        self.sent: list[Task] = []

    def fail(self, reason: str) -> None:
        super().fail(reason)
        sent, self.sent = self.sent, []
        for task in sent:
            task.fail(ModuleError(task.place, reason))

    def start(self, engine: Runs, max_items: int) -> None:
        """The engine is up (again)."""
        self.max_items = max_items
        self.open(engine)

    def submit(self, task: Task) -> None:
        """Queue a task."""
        task.queued(self.enter)
        self.enter(task)

    def wake(self) -> None:
        """Start to work where nobody does."""
        if self.worker is None and self.queue and self.engine is not None:
            self.worker = asyncio.get_running_loop().create_task(self._work())
            self.worker.add_done_callback(self._rest)

    def _rest(self, worker: asyncio.Task[None]) -> None:
        self.worker = None
        if not worker.cancelled():
            worker.result()
            self.wake()

    async def _work(self) -> None:
        while self.engine is not None:
            batch = self.queue.next_batch(Budget(self.max_items))
            if batch is None:
                return
            batch = [part for part in batch if part.task.still_valid()]
            if not batch:
                continue
            self.batches += 1
            self.sent = [part.task for part in batch]
            generations = [part.task.generation for part in batch]
            for part in batch:
                part.task.running += len(part.indices)
                part.task.started()
            watched = self.watch.open(batch, len(self.queue)) if self.watch else None
            self.running = asyncio.ensure_future(self._run(batch))
            results = await self.running
            if watched is not None:
                self.watch.close(watched, results, len(self.queue))
            self.sent, self.running = [], None
            tokens = results.tokens if isinstance(results, Counted) else [()] * len(batch)
            for part, result, counts, generation in zip(
                batch, results, tokens, generations, strict=True
            ):
                if part.task.generation == generation:
                    part.task.deliver(part.indices, result, counts)

    async def _run(self, batch: Sequence[Slice]) -> Sequence[Sequence[Any] | Failure]:
        """Run a batch; an exception is a failure of all of it."""
        requests = [Request(part.task.operation, _pick(part), part.task.common) for part in batch]
        if self.engine is None:
            return [Failure("engine", "the engine is closed")] * len(batch)
        try:
            return _checked(requests, await self.engine.run(requests))
        except EngineDied as error:
            self.pause()
            return [Failure("died", str(error))] * len(batch)
        except MemoryError as error:
            return [Failure("memory", str(error) or "out of memory")] * len(batch)
        except Exception as error:  # noqa: BLE001 - whatever an engine raises becomes the tasks' error
            return [Failure("engine", f"{type(error).__name__}: {error}")] * len(batch)

    async def settled(self) -> None:
        """Wait until the batch that runs now is back: what follows comes after its effects."""
        if self.running is not None and not self.running.done():
            await asyncio.wait([self.running])

    async def close(self) -> None:
        """Stop; what waits is dropped by its queries."""
        self.engine = None
        self.queue.clear()
        if self.worker is not None:
            self.worker.cancel()
            await asyncio.gather(self.worker, return_exceptions=True)


Results = Sequence[Sequence[Any] | Failure]


def _checked(requests: Sequence[Request], results: Results) -> Results:
    """One result a request, and one an item: else the engine is at fault."""
    if len(results) != len(requests):
        raise ValueError(f"the engine gave {len(results)} results for {len(requests)} requests")
    for request, result in zip(requests, results, strict=True):
        if not isinstance(result, Failure) and len(result) != len(request.items):
            raise ValueError(
                f"the engine gave {len(result)} results for {len(request.items)} items"
            )
    return results


def _pick(part: Slice) -> Sequence[Any]:
    if len(part.indices) == len(part.task.items):
        return part.task.items
    return [part.task.items[index] for index in part.indices]
