"""Policies that keep to the order of arrival: ``fifo``, ``per-invocation`` and ``throughput``."""

from __future__ import annotations

from heapq import heappop, heappush
from typing import TYPE_CHECKING, ClassVar

from teola.runtime.policies.base import Budget, Room, Slice
from teola.runtime.policies.ordered import Key, Ordered

if TYPE_CHECKING:
    from teola.runtime.task import Task


class Fifo(Ordered):
    """Arrival order; tasks of many queries join in one batch. Nothing waits behind what came
    later."""

    name: ClassVar[str] = "fifo"
    in_order: ClassVar[bool] = True

    def key(self, task: Task) -> Key:
        return (0,)


class PerInvocation(Fifo):
    """One task a batch, in arrival order (the paper's per-invocation baseline, PO). Nothing waits
    behind what came later."""

    name: ClassVar[str] = "per-invocation"

    def next_batch(self, budget: Budget) -> list[Slice] | None:
        task = self.first()
        part = None if task is None else Room(budget).take(task)
        return None if part is None else [part]


class Throughput(Fifo):
    """Oldest items first, and the fullest batch: what does not fit is passed over for up to
    ``LOOKAHEAD`` later tasks that do, but no task in more than ``PATIENCE`` batches before it is
    given something (the paper's throughput-oriented baseline, TO)."""

    name: ClassVar[str] = "throughput"
    in_order: ClassVar[bool] = False
    LOOKAHEAD: ClassVar[int] = 32
    PATIENCE: ClassVar[int] = 64

    def __init__(self) -> None:
        super().__init__()
        self._passed: dict[Task, int] = {}

    def next_batch(self, budget: Budget) -> list[Slice] | None:
        batch: list[Slice] = []
        room = Room(budget)
        passed: list[tuple[Key, int, Task]] = []
        while (
            room.items > 0 and (task := self.first()) is not None and len(passed) < self.LOOKAHEAD
        ):
            if (part := room.take(task)) is not None:
                batch.append(part)
                self._passed.pop(task, None)
            elif self._passed.get(task, 0) < self.PATIENCE:
                passed.append(heappop(self._heap))
            else:
                break
        for entry in passed:
            heappush(self._heap, entry)
            if batch:
                self._passed[entry[2]] = self._passed.get(entry[2], 0) + 1
        if len(self._passed) > 2 * len(self._heap):
            waiting = set(self)
            self._passed = {task: n for task, n in self._passed.items() if task in waiting}
        return batch or None
