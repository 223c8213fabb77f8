"""``topology``: the paper's Algorithm 2, topology-aware batching."""

from __future__ import annotations

from heapq import heappop, heappush
from typing import TYPE_CHECKING, ClassVar

from teola.runtime.policies.base import Budget, Room, Slice, waits
from teola.runtime.policies.by_query import ByQuery, Size, Waiting

if TYPE_CHECKING:
    from teola.runtime.task import Task


class _Query(Waiting):
    """Its tasks are in order of their depth, and there is that of their arrival beside it."""

    __slots__ = ("by_arrival",)

    def __init__(self, size: Size) -> None:
        super().__init__(size)
        self.by_arrival: list[tuple[int, Task]] = []

    def push(self, order: float, number: int, task: Task) -> None:
        super().push(order, number, task)
        heappush(self.by_arrival, (number, task))

    def earliest(self) -> int | None:
        """The number of the earliest task that waits."""
        while self.by_arrival and not waits(self.by_arrival[0][1]):
            heappop(self.by_arrival)
        return self.by_arrival[0][0] if self.by_arrival else None


class Topology(ByQuery[_Query]):
    """Queries in order of their earliest pending task; from each its deepest tasks (those of one
    depth, the farthest from the output), then from each those of the next depth, until the budget
    is used (Teola, ASPLOS 2025, Algorithm 2).

    A query is left out of a batch only for those of which a task waits that is older than all of
    its own; what comes of these meanwhile goes before it, too, but a query has an end: nothing
    starves.
    """

    name: ClassVar[str] = "topology"

    def add(self, task: Task) -> None:
        query, number = task.rank.query, next(self._numbers)
        if query not in self._queries:
            self._queries[query] = _Query(self._size)
            heappush(self._order, (number, query))
        self._queries[query].push(-task.rank.depth, number, task)

    def next_batch(self, budget: Budget) -> list[Slice] | None:
        filling = _Filling(budget)
        while (task := self._put_back()) is not None and filling.take(task):
            pass
        visited: list[int] = []
        if not self._front:
            while not filling.full and (query := self._next_query()) is not None:
                heappop(self._order)
                visited.append(query)
                self._take_level(query, filling)
            left = visited
            while not filling.full and left:
                left = [query for query in left if self._take_level(query, filling)]
        for query in visited:
            heappush(self._order, (self._queries[query].earliest() or 0, query))
        return filling.batch or None

    def _next_query(self) -> int | None:
        """The query with the earliest pending task."""
        while self._order:
            number, query = self._order[0]
            earliest = self._queries[query].earliest()
            if earliest == number:
                return query
            heappop(self._order)
            if earliest is None:
                self._forget(query)
            else:
                heappush(self._order, (earliest, query))
        return None

    def _take_level(self, query: int, filling: _Filling) -> bool:
        """Take a query's deepest tasks; whether there were any."""
        task = self._queries[query].first()
        if task is None:
            return False
        depth = task.rank.depth
        while task is not None and task.rank.depth == depth and filling.take(task):
            task = self._queries[query].first()
        return True


class _Filling:
    """A batch as it is filled, until it is ``full``."""

    def __init__(self, budget: Budget) -> None:
        self.room = Room(budget)
        self.full = budget.items < 1
        self.batch: list[Slice] = []

    def take(self, task: Task) -> bool:
        """Take what there is room for; False where there is none, and then nothing more goes in."""
        part = self.room.take(task)
        if part is not None:
            self.batch.append(part)
        self.full = part is None or self.room.items < 1
        return part is not None
