"""Equal items of one run are computed once, whatever group they come in."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from functools import partial
from typing import Any


class Once:
    """Remembers results by mark; ``gather`` asks for what is new and waits for the rest."""

    def __init__(self) -> None:
        self.results: dict[Hashable, Any] = {}
        self.waiting: dict[Hashable, list[Callable[[Any], None]]] = {}

    def gather(
        self,
        items: Sequence[Any],
        marks: Sequence[Hashable | None],
        send: Callable[[list[Any], Callable[[list[Any]], None]], None],
        done: Callable[[list[Any]], None],
    ) -> None:
        """Call ``done`` with one result an item; ``send(new items, callback)`` computes new ones."""
        slots: list[Any] = [None] * len(items)
        new: list[int] = []
        left = 0

        def fill(index: int, result: Any) -> None:
            nonlocal left
            slots[index] = result
            left -= 1
            if left == 0:
                done(slots)

        for index, mark in enumerate(marks):
            if mark is not None and mark in self.results:
                slots[index] = self.results[mark]
                continue
            left += 1
            if mark is not None and mark in self.waiting:
                self.waiting[mark].append(partial(fill, index))
                continue
            if mark is not None:
                self.waiting[mark] = []
            new.append(index)

        def computed(results: list[Any]) -> None:
            for index, result in zip(new, results, strict=True):
                mark = marks[index]
                if mark is not None:
                    self.results[mark] = result
                    for waiter in self.waiting.pop(mark, ()):
                        waiter(result)
                fill(index, result)

        if left == 0:
            done(slots)
        elif new:
            send([items[index] for index in new], computed)
