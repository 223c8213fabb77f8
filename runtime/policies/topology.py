"""``topology``: the paper's Algorithm 2, topology-aware batching."""

from __future__ import annotations

from collections.abc import Iterator
from heapq import heappop, heappush
from itertools import count
from typing import TYPE_CHECKING, ClassVar

from teola.runtime.policies.base import Budget, Policy, Slice, fits, less, take

if TYPE_CHECKING:
    from teola.runtime.task import Task


class _Waiting:
    """The tasks of one query: by arrival, and by depth."""

    __slots__ = ("by_arrival", "by_depth")

    def __init__(self) -> None:
        self.by_arrival: list[tuple[int, Task]] = []
        self.by_depth: list[tuple[int, int, Task]] = []

    def add(self, number: int, task: Task) -> None:
        heappush(self.by_arrival, (number, task))
        heappush(self.by_depth, (-task.rank.depth, number, task))

    def earliest(self) -> int | None:
        """The number of the earliest task that waits."""
        while self.by_arrival and not _waits(self.by_arrival[0][1]):
            heappop(self.by_arrival)
        return self.by_arrival[0][0] if self.by_arrival else None

    def deepest(self) -> Task | None:
        """The task farthest from the output."""
        while self.by_depth and not _waits(self.by_depth[0][2]):
            heappop(self.by_depth)
        return self.by_depth[0][2] if self.by_depth else None


class Topology(Policy):
    """Queries in order of their earliest pending task; from each its deepest tasks (those of one
    depth, the farthest from the output), then from each those of the next depth, until the budget
    is used (Teola, ASPLOS 2025, Algorithm 2)."""

    name: ClassVar[str] = "topology"

    def __init__(self) -> None:
        self._queries: dict[int, _Waiting] = {}
        self._order: list[tuple[int, int]] = []
        self._front: list[Task] = []
        self._arrivals = count()

    def add(self, task: Task) -> None:
        query, number = task.rank.query, next(self._arrivals)
        if query not in self._queries:
            self._queries[query] = _Waiting()
            heappush(self._order, (number, query))
        self._queries[query].add(number, task)

    def put_back(self, task: Task) -> None:
        self._front.append(task)

    def next_batch(self, budget: Budget) -> list[Slice] | None:
        filling = _Filling(budget)
        self._drop_front()
        while self._front and filling.take(self._front[-1]):
            self._drop_front()
        visited: list[int] = []
        if not self._front:
            while filling.room and (query := self._next_query()) is not None:
                visited.append(query)
                self._take_level(query, filling)
            left = visited
            while filling.room and left:
                left = [query for query in left if self._take_level(query, filling)]
        for query in visited:
            heappush(self._order, (self._queries[query].earliest() or 0, query))
        return filling.batch or None

    def _drop_front(self) -> None:
        while self._front and not _waits(self._front[-1]):
            self._front.pop()

    def _next_query(self) -> int | None:
        """Take the query with the earliest pending task out of the order."""
        while self._order:
            number, query = heappop(self._order)
            earliest = self._queries[query].earliest()
            if earliest is None:
                del self._queries[query]
            elif earliest > number:
                heappush(self._order, (earliest, query))
            else:
                return query
        return None

    def _take_level(self, query: int, filling: _Filling) -> bool:
        """Take a query's deepest tasks; whether there were any."""
        task = self._queries[query].deepest()
        if task is None:
            return False
        depth = task.rank.depth
        while task is not None and task.rank.depth == depth and filling.take(task):
            task = self._queries[query].deepest()
        return True

    def first(self) -> Task | None:
        self._drop_front()
        if self._front:
            return self._front[-1]
        query = self._next_query()
        if query is None:
            return None
        heappush(self._order, (self._queries[query].earliest() or 0, query))
        return self._queries[query].deepest()

    def clear(self) -> list[Task]:
        entries = [entry for one in self._queries.values() for entry in one.by_arrival]
        queued = (task for _, task in sorted(entries, key=_number))
        tasks = dict.fromkeys(task for task in (*reversed(self._front), *queued) if _waits(task))
        self._front.clear()
        self._queries.clear()
        self._order.clear()
        return list(tasks)

    def __len__(self) -> int:
        return len(self._front) + sum(len(one.by_arrival) for one in self._queries.values())

    def __iter__(self) -> Iterator[Task]:
        queued = (task for one in self._queries.values() for _, task in one.by_arrival)
        return (task for task in (*self._front, *queued) if _waits(task))


class _Filling:
    """A batch as it is filled."""

    def __init__(self, budget: Budget) -> None:
        self.items, self.tokens = budget.items, budget.tokens
        self.batch: list[Slice] = []

    @property
    def room(self) -> bool:
        return self.items > 0

    def take(self, task: Task) -> bool:
        """Take what there is room for; False where there is none, and then nothing more goes in."""
        if not self.room or not fits(task, self.tokens):
            self.items = 0
            return False
        part = take(task, self.items)
        self.items -= len(part.indices)
        self.tokens = less(self.tokens, task)
        self.batch.append(part)
        return True


def _waits(task: Task) -> bool:
    return bool(task.todo) and not task.over


def _number(entry: tuple[int, Task]) -> int:
    return entry[0]
