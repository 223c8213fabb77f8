"""The lower tier for engines whose work is items: batches of tasks of many queries."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from math import ceil

from teola.runtime.batch_worker import BatchWorker, Runs
from teola.runtime.circuit import Circuit
from teola.runtime.engines.protocol import Capabilities
from teola.runtime.errors import ModuleError
from teola.runtime.item_budget import ItemBudget
from teola.runtime.observing.engine_watch import UNWATCHED, EngineWatch
from teola.runtime.policies import Budget, Policy
from teola.runtime.sent import Sent
from teola.runtime.suspects import Suspects
from teola.runtime.task import Task
from teola.runtime.task_queue import TaskQueue
from teola.runtime.turn import Turn


class BatchScheduler(TaskQueue):
    """One queue, and the replicas that take batches from it. Work-conserving: a replica that is
    free takes what waits, so none has work to do that another could begin earlier. What was with a
    replica when it died is tried item by item (``suspects``)."""

    def __init__(
        self, policy: Policy, watch: EngineWatch = UNWATCHED, turn: Turn | None = None
    ) -> None:
        super().__init__(policy, watch, turn)
        self.workers: dict[Runs, BatchWorker] = {}
        self.budgets: dict[Runs, ItemBudget] = {}
        self.suspects = Suspects(self.queue)
        self.tokens: int | None = None

    @property
    def up(self) -> bool:
        return bool(self.workers)

    @property
    def running(self) -> int:
        """Tasks with items in a batch that runs."""
        return sum(len(worker.sent) for worker in self.workers.values())

    def start(
        self,
        engine: Runs,
        capabilities: Capabilities,
        circuit: Circuit,
        lost: Callable[[str], None],
        watch: EngineWatch = UNWATCHED,
    ) -> None:
        """A replica is up (again); where it turns out to hang, it is ``lost``."""
        first = not self.workers
        self.tokens = capabilities.batch_tokens
        budget = self.budgets.setdefault(engine, ItemBudget(capabilities.max_items))
        self.workers[engine] = BatchWorker(self, engine, budget, circuit, lost, watch)
        self.opened(first=first)

    def stop(self, engine: Runs) -> None:
        """A replica is gone."""
        if (worker := self.workers.pop(engine, None)) is not None:
            worker.gone = True
            self.paused()

    def died(self, worker: BatchWorker, batch: Sequence[Sent], message: str) -> None:
        """A replica has died while it ran a batch."""
        if self.workers.get(worker.engine) is worker:
            self.stop(worker.engine)
        self.suspects.died(worker, batch, message)
        self.paused()
        if self.broken:
            self.fail(self.broken)
        self.wake()

    def submit(self, task: Task) -> None:
        """Queue a task."""
        task.queued(self)
        self.enter(task)

    def wake(self) -> None:
        """One replica that is free begins; it wakes the next one if it leaves something."""
        idle = next((worker for worker in self.workers.values() if worker.job is None), None)
        if idle is not None and (self.queue or self.suspects.ready):
            idle.begin()

    def rest(self, worker: BatchWorker) -> None:
        """A replica has nothing to do, or is gone."""
        self.suspects.survived(worker)
        self.wake()

    def next_batch(self, worker: BatchWorker) -> list[Sent] | None:
        """What a replica does next. Suspects go first; but where others wait, a replica that has
        come up does something for them before it is put at risk."""
        self.suspects.survived(worker)
        if worker.worked and (suspect := self.suspects.next(worker)):
            return suspect
        budget = Budget(self._share(worker.budget.items), self.tokens, lone=True)
        while (batch := self.queue.next_batch(budget)) is not None:
            valid = [Sent.of(part) for part in batch if part.task.still_valid()]
            if sent := self.suspects.sift(self.suspects.hold(valid)):
                return sent
        return self.suspects.next(worker)

    def _share(self, most: int) -> int:
        """What one replica takes of what waits, where others have nothing to do."""
        idle = sum(worker.job is None for worker in self.workers.values())
        if not idle:
            return most
        waiting = 0
        for task in self.queue:
            waiting += len(task.todo)
            if waiting >= (idle + 1) * most:
                return most
        return max(1, ceil(waiting / (idle + 1)))

    def waiting(self) -> Iterator[Task]:
        return chain(self.queue, self.suspects.tasks())

    def fail(self, reason: str) -> None:
        super().fail(reason)
        for task in self.suspects.clear():
            task.fail(ModuleError(task.place, reason))
        for worker in self.workers.values():
            worker.fail(reason)

    def check_integrity(self) -> list[str]:
        suspects = len(set(self.suspects.tasks()))
        problems = [f"{suspects} tasks wait for suspects of an idle engine"] if suspects else []
        return super().check_integrity() + problems

    async def settled(self) -> None:
        """Wait until the batches that run now are back: what follows comes after their effects."""
        running = [worker.running for worker in self.workers.values() if worker.running is not None]
        if running:
            await asyncio.wait(running)

    async def close(self) -> None:
        """Stop; what waits is dropped by its queries."""
        workers, self.workers = list(self.workers.values()), {}
        self.queue.clear()
        for worker in workers:
            await worker.close()
