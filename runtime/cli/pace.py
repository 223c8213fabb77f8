"""How fast rows end: over the last half minute, so that what is slow now shows."""

from __future__ import annotations

from collections import deque

from teola.runtime.cli.state import Clock

WINDOW_S = 30.0
MARK_S = 0.5
"""Least time between two marks: there are few, however fast rows end."""

EXACT_S = 9.95
MINUTE = 60
HOUR = 3600


class Pace:
    """The rate of what ``add`` counts."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._count = 0
        self._marks: deque[tuple[float, int]] = deque([(clock(), 0)])

    def restart(self) -> None:
        """What has passed while nothing could end does not count."""
        if self._count == 0:
            self._marks = deque([(self._clock(), 0)])

    def add(self) -> None:
        """One more has ended."""
        self._count += 1
        if self._clock() - self._marks[-1][0] >= MARK_S:
            self._marks.append((self._clock(), self._count))

    def rate(self) -> float | None:
        """How many a second; None where nothing has ended."""
        now = self._clock()
        while len(self._marks) > 1 and self._marks[1][0] <= now - WINDOW_S:
            self._marks.popleft()
        began, before = self._marks[0]
        ended = self._count - before
        return ended / (now - began) if ended and now > began else None


def duration(seconds: float) -> str:
    """``0.4 s``, ``42 s``, ``5 min 20 s``, ``1 h 12 min``."""
    if seconds < EXACT_S:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < MINUTE:
        return f"{whole} s"
    if whole < HOUR:
        return f"{whole // MINUTE} min {whole % MINUTE} s"
    return f"{whole // HOUR} h {whole % HOUR // MINUTE} min"
