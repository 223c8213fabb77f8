"""Equal items of one run are computed once, whatever group they come in."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Any, Protocol


class Group(Protocol):
    """Who asks: sends what is new, and takes one result an item."""

    def send(self, items: list[Any], computed: Callable[[list[Any]], None]) -> None:
        """Compute new items."""
        ...

    def done(self, results: list[Any]) -> None:
        """All results, in the order of the items."""
        ...


class Once:
    """The results of one run by mark, and who waits for those under way."""

    __slots__ = ("results", "waiting")

    def __init__(self) -> None:
        self.results: dict[Hashable, Any] = {}
        self.waiting: dict[Hashable, tuple[tuple[_Gathering, int], ...]] = {}

    def gather(self, items: Sequence[Any], marks: Sequence[Hashable | None], group: Group) -> None:
        """Give ``group`` one result an item; items of equal marks are computed once (None: an item
        equal to no other)."""
        gathering = _Gathering(self, marks, group)
        for index, mark in enumerate(marks):
            if mark is not None and mark in self.results:
                gathering.slots[index] = self.results[mark]
                gathering.left -= 1
            elif mark is not None and mark in self.waiting:
                self.waiting[mark] += ((gathering, index),)
            else:
                gathering.new.append(index)
                if mark is not None:
                    self.waiting[mark] = ()
        if gathering.left == 0:
            group.done(gathering.slots)
        elif gathering.new:
            group.send([items[index] for index in gathering.new], gathering.computed)


class _Gathering:
    """The results of one group, as they come."""

    __slots__ = ("group", "left", "marks", "new", "once", "slots")

    def __init__(self, once: Once, marks: Sequence[Hashable | None], group: Group) -> None:
        self.once, self.marks, self.group = once, marks, group
        self.slots: list[Any] = [None] * len(marks)
        self.new: list[int] = []
        self.left = len(marks)

    def computed(self, results: list[Any]) -> None:
        """The results of the new items."""
        for index, result in zip(self.new, results, strict=True):
            mark = self.marks[index]
            if mark is not None:
                self.once.results[mark] = result
                for gathering, place in self.once.waiting.pop(mark, ()):
                    gathering.fill(place, result)
            self.fill(index, result)

    def fill(self, index: int, result: Any) -> None:
        """One result."""
        self.slots[index] = result
        self.left -= 1
        if self.left == 0:
            self.group.done(self.slots)
