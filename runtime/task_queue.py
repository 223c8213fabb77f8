"""A queue of tasks before one engine: what both kinds of engine schedulers share."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from typing import Generic, TypeVar

from teola.runtime.errors import ModuleError
from teola.runtime.observing.engine_watch import UNWATCHED
from teola.runtime.policies import Policy
from teola.runtime.task import Task

E = TypeVar("E")


class TaskQueue(ABC, Generic[E]):
    """Tasks that wait for an engine of type ``E``. While it is away (it died, and may come back)
    their clocks stand still; once it is broken for good, they fail."""

    def __init__(self, policy: Policy) -> None:
        self.queue = policy
        self.engine: E | None = None
        self.broken = ""
        self.watch = UNWATCHED

    @abstractmethod
    def wake(self) -> None:
        """There may be something to send."""

    def enter(self, task: Task) -> None:
        """Queue a task, for the first time or again."""
        if self.broken:
            task.fail(ModuleError(task.place, self.broken))
            return
        task.queued_s = asyncio.get_running_loop().time()
        if self.engine is not None:
            task.start_clock()
        self.queue.add(task)
        self.wake()

    def open(self, engine: E) -> None:
        """The engine is up (again)."""
        self.engine = engine
        for task in self.queue:
            task.start_clock()
        self.wake()

    def pause(self) -> None:
        """The engine is gone, and may come back: waiting for it counts against no clock."""
        self.engine = None
        for task in self.queue:
            task.stop_clock()

    def fail(self, reason: str) -> None:
        """The engine will not come back: what waits, and whatever comes, fails."""
        self.broken, self.engine = reason, None
        for task in self.queue.clear():
            task.fail(ModuleError(task.place, reason))

    def check_integrity(self) -> list[str]:
        """What should not be there when nothing runs."""
        waiting = list(self.queue)
        return [f"{len(waiting)} tasks wait in an idle queue"] if waiting else []
