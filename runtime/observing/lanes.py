"""Lanes: where slices that overlap are drawn one below the other."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator
from typing import TypeVar

S = TypeVar("S")


def lanes(slices: Iterable[tuple[int, int, S]]) -> Iterator[tuple[int, int, int, S]]:
    """``(begin, end, what)`` in order of their begins, each with the first lane that is free."""
    busy: list[tuple[int, int]] = []
    free: list[int] = []
    for begin, end, what in sorted(slices, key=lambda one: one[:2]):
        while busy and busy[0][0] <= begin:
            heapq.heappush(free, heapq.heappop(busy)[1])
        lane = heapq.heappop(free) if free else len(busy)
        heapq.heappush(busy, (max(end, begin + 1), lane))
        yield lane, begin, end, what
