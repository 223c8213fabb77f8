"""How often an engine is started again after it died, and when it is refused for a while."""

from __future__ import annotations

from dataclasses import dataclass

MAX_RESTARTS = 3
"""Deaths in a row after which whoever waits for the engine is told so, and nobody waits for it."""
RESTART_DELAY_S = 0.5
REST_S = 30.0
MOST_REST_S = 600.0
STABLE_S = 60.0
"""An engine that lived so long starts anew with MAX_RESTARTS restarts."""


@dataclass(slots=True)
class Circuit:
    """A circuit breaker: closed for the first MAX_RESTARTS deaths in a row, open after them. Each
    death is followed by one start, after a delay that doubles from death to death. Deaths for which
    an item is to ``blame`` are forgotten when the engine has ``worked`` since; one that is
    ``excused`` beforehand does not count."""

    deaths: int = 0
    blamed: int = 0
    excused: bool = False
    up_s: float = 0.0

    @property
    def open(self) -> bool:
        """Whether the engine died so often that nobody should wait for it."""
        return self.deaths > MAX_RESTARTS

    def started(self, now: float) -> None:
        """The engine is up (again)."""
        self.up_s = now

    def blame(self) -> None:
        """An item was the cause of a death, if the engine turns out to be well."""
        self.blamed += 1

    def worked(self) -> None:
        """The engine has done something: it is well."""
        if self.blamed:
            self.deaths, self.blamed = max(0, self.deaths - self.blamed), 0

    def died(self, now: float, *, up: bool = True) -> float:
        """The engine has died, or did not come up; the seconds until its next start."""
        stable = up and now - self.up_s > STABLE_S
        counts = not (up and self.excused)
        self.deaths = 1 if stable else self.deaths + counts
        self.excused = False
        if self.open:
            return float(min(MOST_REST_S, REST_S * 2 ** (self.deaths - MAX_RESTARTS - 1)))
        return float(RESTART_DELAY_S * 2 ** max(0, self.deaths - 1))
