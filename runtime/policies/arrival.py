"""Policies that keep to the order of arrival: ``fifo``, ``per-invocation`` and ``throughput``."""

from __future__ import annotations

from heapq import heappop, heappush
from typing import TYPE_CHECKING, ClassVar

from teola.runtime.policies.base import Budget, Slice, fits, less, take
from teola.runtime.policies.ordered import Key, Ordered

if TYPE_CHECKING:
    from teola.runtime.task import Task


class Fifo(Ordered):
    """Arrival order; tasks of many queries join in one batch."""

    name: ClassVar[str] = "fifo"

    def key(self, task: Task) -> Key:
        return (0,)


class PerInvocation(Fifo):
    """One task a batch, in arrival order (the paper's per-invocation baseline, PO)."""

    name: ClassVar[str] = "per-invocation"

    def next_batch(self, budget: Budget) -> list[Slice] | None:
        task = self.first()
        if task is None or budget.items < 1 or not fits(task, budget.tokens):
            return None
        return [take(task, budget.items)]


class Throughput(Fifo):
    """Oldest items first, and the fullest batch: what does not fit is passed over for up to
    ``LOOKAHEAD`` later tasks that do, but no task more than ``PATIENCE`` times (the paper's
    throughput-oriented baseline, TO)."""

    name: ClassVar[str] = "throughput"
    LOOKAHEAD: ClassVar[int] = 32
    PATIENCE: ClassVar[int] = 64

    def __init__(self) -> None:
        super().__init__()
        self._passed: dict[Task, int] = {}

    def next_batch(self, budget: Budget) -> list[Slice] | None:
        batch: list[Slice] = []
        items, tokens = budget.items, budget.tokens
        passed: list[tuple[Key, int, Task]] = []
        while items > 0 and (task := self.first()) is not None and len(passed) < self.LOOKAHEAD:
            if fits(task, tokens):
                part = take(task, items)
                items -= len(part.indices)
                tokens = less(tokens, task)
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
