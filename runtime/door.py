"""The door of a pool: past the limit of queries a new one is refused at once."""

from __future__ import annotations

from collections import deque

from teola.runtime.errors import Overloaded, RunError

ENDS = 64
"""Ends that the rate is taken from."""
SOONEST_S = 0.1
"""Nobody is asked to come back sooner."""


class Door:
    """Counts the queries ``inside``; at most ``limit`` at a time (None: any number).

    Who is refused is told when a place will be free, at the rate at which queries have ended since
    the pool was last idle; of several each is told a later one, up to when all that are inside
    should have ended.
    """

    def __init__(self, limit: int | None = None) -> None:
        if limit is not None and limit < 1:
            raise RunError(f"max_queries = {limit}: a pool must take at least 1 query")
        self.limit = limit
        self.inside = 0
        self._since_s = 0.0
        self._promised_s = 0.0
        self._ends: deque[float] = deque(maxlen=ENDS)

    def enter(self, now_s: float) -> None:
        """A query comes.

        Raises:
            Overloaded: there is no room; says when to come again.
        """
        if self.limit is not None and self.inside >= self.limit:
            raise Overloaded(self.inside, self._retry_after_s(now_s))
        if not self.inside:
            self._since_s = now_s
            self._ends.clear()
        self.inside += 1

    def leave(self, now_s: float) -> None:
        """A query has ended."""
        self.inside -= 1
        if len(self._ends) == ENDS:
            self._since_s = self._ends[0]
        self._ends.append(now_s)

    def _retry_after_s(self, now_s: float) -> float:
        between_s = (now_s - self._since_s) / max(1, len(self._ends))
        self._promised_s = max(self._promised_s, now_s) + between_s
        self._promised_s = min(self._promised_s, now_s + self.inside * between_s)
        return max(SOONEST_S, self._promised_s - now_s)
