"""A queue of tasks before an engine's replicas: what both kinds of engine schedulers share."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Iterator

from teola.runtime.clocks import Clocks
from teola.runtime.errors import ModuleError
from teola.runtime.observing.engine_watch import UNWATCHED, EngineWatch
from teola.runtime.policies import Policy
from teola.runtime.task import Task
from teola.runtime.turn import Turn


class TaskQueue(ABC):
    """Tasks that wait for any replica of an engine. While none is up (they died, and may come back)
    their clocks stand still; while the engine is broken, they fail. What results make ready is done
    in ``turn``."""

    def __init__(
        self, policy: Policy, watch: EngineWatch = UNWATCHED, turn: Turn | None = None
    ) -> None:
        self.queue = policy
        self.watch = watch
        self.turn = turn or Turn()
        self.clocks = Clocks()
        self.broken = ""

    @property
    @abstractmethod
    def up(self) -> bool:
        """Whether a replica takes work."""

    @abstractmethod
    def wake(self) -> None:
        """There may be something to send."""

    def enter(self, task: Task) -> None:
        """Queue a task, for the first time or again."""
        if self.broken:
            task.fail(ModuleError(task.place, self.broken))
            return
        task.queued_s = asyncio.get_running_loop().time()
        if self.up:
            task.start_clock()
        self.queue.add(task)
        self.wake()

    def opened(self, *, first: bool) -> None:
        """A replica is up (again), perhaps the first of all."""
        self.broken = ""
        if first:
            for task in self.waiting():
                task.start_clock()
        self.wake()

    def paused(self) -> None:
        """A replica is gone: waiting for the last one to come back counts against no clock."""
        if not self.up:
            for task in self.waiting():
                task.stop_clock()

    def waiting(self) -> Iterator[Task]:
        """The tasks with something that is not on a replica."""
        return iter(self.queue)

    def fail(self, reason: str) -> None:
        """No replica takes work, now or soon: what waits, and whatever comes, fails."""
        self.broken = reason
        for task in self.queue.clear():
            task.fail(ModuleError(task.place, reason))

    def check_integrity(self) -> list[str]:
        """What should not be there when nothing runs."""
        waiting = list(self.queue)
        return [f"{len(waiting)} tasks wait in an idle queue"] if waiting else []
