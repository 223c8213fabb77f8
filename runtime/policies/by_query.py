"""Policies that order queries first, and then the tasks of each."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from heapq import heappop, heappush
from itertools import chain, count
from typing import TYPE_CHECKING, Generic, TypeVar

from teola.runtime.policies.base import Policy, waits

if TYPE_CHECKING:
    from teola.runtime.task import Task


class Size:
    """How many tasks the queries of a policy hold together: counted, for it is asked often."""

    __slots__ = ("tasks",)

    def __init__(self) -> None:
        self.tasks = 0


class Waiting:
    """The tasks of one query, smallest ``order`` first; ``size`` counts those of all queries."""

    __slots__ = ("size", "tasks")

    def __init__(self, size: Size) -> None:
        self.size = size
        self.tasks: list[tuple[float, int, Task]] = []

    def push(self, order: float, number: int, task: Task) -> None:
        """A task has come, the ``number``-th of all."""
        heappush(self.tasks, (order, number, task))
        self.size.tasks += 1

    def first(self) -> Task | None:
        """What goes next of this query."""
        while self.tasks and not waits(self.tasks[0][2]):
            heappop(self.tasks)
            self.size.tasks -= 1
        return self.tasks[0][2] if self.tasks else None


W = TypeVar("W", bound=Waiting)


class ByQuery(Policy, Generic[W]):
    """``_queries`` by their number. ``_order`` is a heap of them: a key, a query's number, and what
    else tells an entry from an outdated one."""

    def __init__(self) -> None:
        self._queries: dict[int, W] = {}
        self._order: list[tuple[int, ...]] = []
        self._size = Size()
        self._front: list[Task] = []
        self._numbers = count()

    def put_back(self, task: Task) -> None:
        self._front.append(task)

    def _put_back(self) -> Task | None:
        """The task that was put back last."""
        while self._front and not waits(self._front[-1]):
            self._front.pop()
        return self._front[-1] if self._front else None

    @abstractmethod
    def _next_query(self) -> int | None:
        """The query that goes next."""

    def _forget(self, query: int) -> None:
        """Nothing of a query waits."""
        self._size.tasks -= len(self._queries.pop(query).tasks)

    def first(self) -> Task | None:
        if (task := self._put_back()) is not None:
            return task
        query = self._next_query()
        return None if query is None else self._queries[query].first()

    def clear(self) -> list[Task]:
        queued = sorted((number, task) for _, number, task in self._entries())
        tasks = dict.fromkeys(chain(reversed(self._front), (task for _, task in queued)))
        self._front.clear()
        self._queries.clear()
        self._order.clear()
        self._size.tasks = 0
        return [task for task in tasks if waits(task)]

    def _entries(self) -> Iterator[tuple[float, int, Task]]:
        return chain.from_iterable(one.tasks for one in self._queries.values())

    def __len__(self) -> int:
        return len(self._front) + self._size.tasks

    def __iter__(self) -> Iterator[Task]:
        tasks = chain(self._front, (task for _, _, task in self._entries()))
        return (task for task in tasks if waits(task))
