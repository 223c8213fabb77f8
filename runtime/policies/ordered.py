"""Policies that serve tasks by one fixed key each: a heap."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from heapq import heappop, heappush
from itertools import count
from typing import TYPE_CHECKING, TypeAlias

from teola.runtime.policies.base import Budget, Policy, Slice, fill, waits

if TYPE_CHECKING:
    from teola.runtime.task import Task

Key: TypeAlias = tuple[float, ...]
FIRST: Key = (float("-inf"),)


class Ordered(Policy):
    """Tasks of many queries join in one batch, smallest key first; the one that does not fit is
    waited for. A decision takes O(log n) for n waiting tasks."""

    def __init__(self) -> None:
        self._heap: list[tuple[Key, int, Task]] = []
        self._arrivals = count()
        self._returns = count(-1, -1)

    @abstractmethod
    def key(self, task: Task) -> Key:
        """Computed once, when a task is queued."""

    def add(self, task: Task) -> None:
        heappush(self._heap, (self.key(task), next(self._arrivals), task))

    def put_back(self, task: Task) -> None:
        heappush(self._heap, (FIRST, next(self._returns), task))

    def next_batch(self, budget: Budget) -> list[Slice] | None:
        return list(fill(self, budget)) or None

    def first(self) -> Task | None:
        while self._heap:
            task = self._heap[0][2]
            if waits(task):
                return task
            heappop(self._heap)
        return None

    def clear(self) -> list[Task]:
        entries = sorted(self._heap, key=lambda entry: entry[:2])
        self._heap.clear()
        tasks = (task for _, _, task in entries)
        return list(dict.fromkeys(task for task in tasks if waits(task)))

    def __len__(self) -> int:
        return len(self._heap)

    def __iter__(self) -> Iterator[Task]:
        return (task for _, _, task in self._heap if waits(task))
