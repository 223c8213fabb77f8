"""A watchdog: whether what an engine works on has been given up, and still does not end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

GRACE_S = 30.0
"""So much longer than its clocks allow may work take before its engine counts as hanging."""


class Watchdog:
    """Looks every GRACE_S seconds from ``watch`` to ``rest``. What is ``stalled`` at two looks in a
    row hangs: ``hangs`` is called, and nobody looks any more."""

    def __init__(self, stalled: Callable[[], bool], hangs: Callable[[], None]) -> None:
        self._stalled, self._hangs = stalled, hangs
        self._timer: asyncio.TimerHandle | None = None

    def watch(self) -> None:
        """Something begins, or has given a sign of life."""
        self.rest()
        self._later(seen=False)

    def rest(self) -> None:
        """Nothing is under way."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _later(self, *, seen: bool) -> None:
        self._timer = asyncio.get_running_loop().call_later(GRACE_S, self._look, seen)

    def _look(self, seen: bool) -> None:
        self._timer = None
        stalled = self._stalled()
        if stalled and seen:
            self._hangs()
        else:
            self._later(seen=stalled)
