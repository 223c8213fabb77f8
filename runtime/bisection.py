"""Which items of a batch make an engine raise: parts of it are run again until they stand alone."""

from __future__ import annotations

from collections.abc import Sequence
from reprlib import repr as shortened

from teola.runtime.engines.protocol import Failure
from teola.runtime.faults import failure_of
from teola.runtime.policies import Policy
from teola.runtime.sent import Sent, count, put_back

FRUITLESS = 16
"""After so many runs without one result the engine is at fault, and not an item: a batch of which
everything fails is run so often, and not twice for each item. One task that is well among eight is
found before."""


class Bisection:
    """Tasks are told apart first, then the items of those that fail. With the first item of a task
    that fails for good its others are run no more: k failing items take O(k log n) runs.

    An item that fails alone has failed as ``item`` if the engine did others of the batch, else as
    ``engine``: then trying again makes sense. That is known, and told, when something succeeds.
    """

    def __init__(self, batch: Sequence[Sent], error: Exception) -> None:
        self._failing: list[tuple[Sent, Failure]] = []
        self._well = False
        self._runs = 0
        self._tasks: list[list[Sent]] = []
        self._items: list[list[Sent]] = []
        repeatable = [part for part in batch if part.repeatable]
        for part in batch:
            if not part.repeatable:
                part.deliver(failure_of(error))
        if len(repeatable) == len(batch):
            self._split(repeatable, failure_of(error))
        elif repeatable:
            self._tasks.append(repeatable)

    def next(self) -> list[Sent] | None:
        """What to run now."""
        while parts := self._tasks or self._items:
            if part := [one for one in parts.pop() if one.wanted]:
                return part
        return None

    def ran(self, part: list[Sent], error: Exception | None) -> None:
        """What came of it; its results are delivered."""
        if error is None:
            self._well = True
            self._tell("item")
            return
        self._runs += 1
        self._split(part, failure_of(error))
        if not self._well and self._runs >= FRUITLESS:
            left = [one for part in (*self._tasks, *self._items) for one in part]
            self._failing += [(one, failure_of(error)) for one in left]
            self._tasks, self._items = [], []

    def _split(self, part: list[Sent], failure: Failure) -> None:
        if len(part) > 1:
            middle = len(part) // 2
            self._tasks += [part[middle:], part[:middle]]
        elif count(part) > 1:
            (one,) = part
            middle = len(one.indices) // 2
            self._items += [[one.only(one.indices[middle:])], [one.only(one.indices[:middle])]]
        else:
            self._failing.append((part[0], failure))
            if self._well:
                self._tell("item")

    def _tell(self, kind: str) -> None:
        failing, self._failing = self._failing, []
        for part, failure in failing:
            if kind == "item":
                (index,) = part.indices
                which = shortened(part.task.items[index])
                part.deliver(Failure(kind, f"{failure.message} (alone, too: {which})"))
            else:
                part.deliver(failure)

    def end(self, queue: Policy) -> None:
        """Nothing more is run: nothing is left, or the engine is gone."""
        self._tell("engine")
        for part in (*self._tasks, *self._items):
            put_back(part, queue)
