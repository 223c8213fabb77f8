"""Clocks of tasks: many that run equally long share one timer of the loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, TypeAlias

Ring: TypeAlias = Callable[[Any], None]


class Clocks:
    """Clocks on one event loop. Almost all are stopped before they ring, and most run for one of a
    few limits: starting or stopping one is an entry in a table."""

    def __init__(self) -> None:
        self._lines: dict[tuple[float, Ring], Line] = {}

    def start(self, seconds: float, ring: Ring, who: object) -> Line:
        """``ring(who)`` in so many seconds, unless ``who`` leaves the line before."""
        line = self._lines.get((seconds, ring))
        if line is None:
            line = self._lines[seconds, ring] = Line(seconds, ring, self._lines)
        line.join(who)
        return line


class Line:
    """Whose clocks of one length run, by when they ring: that is the order in which they joined.
    Its timer goes on to the next of them when it passes, and is let go when there is none."""

    __slots__ = ("_due", "_lines", "_loop", "_ring", "_seconds", "_timer")

    def __init__(self, seconds: float, ring: Ring, lines: dict[tuple[float, Ring], Line]) -> None:
        self._seconds, self._ring, self._lines = seconds, ring, lines
        self._loop = asyncio.get_running_loop()
        self._due: dict[object, float] = {}
        self._timer: asyncio.TimerHandle | None = None

    def join(self, who: object) -> None:
        """Their clock begins (anew)."""
        self._due.pop(who, None)
        due_s = self._due[who] = self._loop.time() + self._seconds
        if self._timer is None:
            self._timer = self._loop.call_at(due_s, self._passed)

    def leave(self, who: object) -> None:
        """Their clock stops; one that does not run is not missed."""
        self._due.pop(who, None)

    def _passed(self) -> None:
        """Ring what is due. Should that raise, the loop is told, and the others ring still."""
        try:
            while (first := next(iter(self._due), None)) is not None:
                if self._due[first] > self._loop.time():
                    break
                del self._due[first]
                self._ring(first)
        finally:
            self._go_on()

    def _go_on(self) -> None:
        if self._due:
            self._timer = self._loop.call_at(next(iter(self._due.values())), self._passed)
        else:
            self._timer = None
            self._lines.pop((self._seconds, self._ring), None)
