"""``remaining-work``: the query that needs least to end goes first, older ones before newer."""

from __future__ import annotations

from heapq import heappop, heappush, heapreplace
from typing import TYPE_CHECKING, ClassVar

from teola.runtime.policies.base import Budget, Room, Slice
from teola.runtime.policies.by_query import ByQuery, Size, Waiting

if TYPE_CHECKING:
    from teola.runtime.task import Task

WEIGHT = 0.3
"""Milliseconds of work that a millisecond of waiting outweighs."""


class _Query(Waiting):
    """``left_ms`` is what the query needs beside what was taken of it here; ``entry`` is its place
    in the order."""

    __slots__ = ("arrived_ms", "entry", "left_ms")

    def __init__(self, size: Size) -> None:
        super().__init__(size)
        self.arrived_ms = self.left_ms = 0.0
        self.entry: tuple[int, ...] = ()


class RemainingWork(ByQuery[_Query]):
    """Queries by ``work left + weight * arrival``, in whole milliseconds; of each, the longest
    remaining path first. What is left counts the items that have not been taken: a query comes
    nearer to the front with each batch, so that what was begun is ended.

    Queries share a batch up to its knee. Beyond that, who joins delays those aboard and saves
    nobody much: a larger batch is all of one query.

    A query waits only behind those that arrived less than ``left / weight`` after it: nothing
    starves.
    """

    name: ClassVar[str] = "remaining-work"

    def __init__(self, weight: float = WEIGHT) -> None:
        super().__init__()
        self.weight = weight

    def add(self, task: Task) -> None:
        rank = task.rank
        if (query := self._queries.get(rank.query)) is None:
            query = self._queries[rank.query] = _Query(self._size)
        query.push(-rank.path_ms, next(self._numbers), task)
        query.arrived_ms, query.left_ms = rank.arrived_ms, rank.left_ms
        key = self._key(query)
        if not query.entry or query.entry[0] != key:
            heappush(self._order, self._placed(rank.query, query, key))

    def priority(self, task: Task) -> int:
        return round(task.rank.left_ms + self.weight * task.rank.arrived_ms)

    def _key(self, query: _Query) -> int:
        return round(max(0.0, query.left_ms) + self.weight * query.arrived_ms)

    def _placed(self, number: int, query: _Query, key: int) -> tuple[int, ...]:
        query.entry = (key, number, next(self._numbers))
        return query.entry

    def next_batch(self, budget: Budget) -> list[Slice] | None:
        room, batch, queries = Room(budget), list[Slice](), set[int]()
        while room.items > 0 and (task := self.first()) is not None:
            queries.add(task.rank.query)
            items = budget.items - room.items + len(task.todo)
            if len(queries) > 1 and 0 < task.rank.knee < items:
                break
            if (part := room.take(task)) is None:
                break
            self._taken(part)
            batch.append(part)
        return batch or None

    def _taken(self, part: Slice) -> None:
        if self._front and self._front[-1] is part.task:
            return  # it counts as taken since it was taken first
        rank = part.task.rank
        query = self._queries[rank.query]
        query.left_ms -= rank.item_ms * len(part.indices)
        heapreplace(self._order, self._placed(rank.query, query, self._key(query)))

    def _next_query(self) -> int | None:
        while self._order:
            number = self._order[0][1]
            query = self._queries.get(number)
            if query is not None and query.entry == self._order[0]:
                if query.first() is not None:
                    return number
                self._forget(number)
            heappop(self._order)
        return None
