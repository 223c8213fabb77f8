"""Cores that several simulated engines are pinned to."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any
from weakref import WeakKeyDictionary

EPSILON_S = 1e-9


class Cores:
    """Where k engines work at once on these cores, each goes on at 1/k of its pace."""

    def __init__(self) -> None:
        self._left_s: dict[asyncio.Future[None], float] = {}
        self._since_s = 0.0
        self._timer: asyncio.TimerHandle | None = None

    async def work(self, seconds: float) -> None:
        """Work that takes so long alone."""
        done = asyncio.get_running_loop().create_future()
        self._go_on()
        self._left_s[done] = seconds
        self._plan()
        try:
            await done
        finally:
            self._go_on()
            self._left_s.pop(done, None)
            self._plan()

    def _go_on(self) -> None:
        """Account for the time that has passed."""
        now_s = asyncio.get_running_loop().time()
        if self._left_s:
            each_s = (now_s - self._since_s) / len(self._left_s)
            self._left_s = {done: left_s - each_s for done, left_s in self._left_s.items()}
        self._since_s = now_s

    def _plan(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._left_s:
            soonest_s = max(0.0, min(self._left_s.values())) * len(self._left_s)
            loop = asyncio.get_running_loop()
            self._timer = loop.call_at(self._since_s + soonest_s, self._end)

    def _end(self) -> None:
        """What had least left is over, whatever little the clock's rounding leaves of it."""
        self._go_on()
        least_s = min(self._left_s.values(), default=0.0)
        for done, left_s in self._left_s.items():
            if left_s <= least_s + EPSILON_S and not done.done():
                done.set_result(None)


_all: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[tuple[int, ...], Cores]] = (
    WeakKeyDictionary()
)


def cores_of(settings: Mapping[str, Any]) -> Cores:
    """Those that an engine is pinned to, the same for all engines of this event loop that are; one
    that is not pinned, or has several replicas, has cores of its own."""
    pinned = settings.get("cores")
    if not pinned or settings.get("replicas", 1) != 1:
        return Cores()
    known = _all.setdefault(asyncio.get_running_loop(), {})
    return known.setdefault(tuple(pinned), Cores())
