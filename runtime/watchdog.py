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
        self._left_s, self._seen = GRACE_S, False
        self._timer: asyncio.TimerHandle | None = None

    def watch(self) -> None:
        """Something begins, or has given a sign of life."""
        self.rest()
        self._left_s, self._seen = GRACE_S, False
        self.go_on()

    def go_on(self) -> None:
        """What has rested goes on where it was."""
        if self._timer is None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(self._left_s, self._look)

    def rest(self) -> None:
        """Nothing is under way."""
        if self._timer is not None:
            self._left_s = max(0.0, self._timer.when() - asyncio.get_running_loop().time())
            self._timer.cancel()
            self._timer = None

    def _look(self) -> None:
        self._timer, self._left_s = None, GRACE_S
        before, self._seen = self._seen, self._stalled()
        if before and self._seen:
            self._hangs()
        else:
            self.go_on()
