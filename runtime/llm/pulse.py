"""Whether an LLM lives: it answers aborts, and what runs on it gets on."""

from __future__ import annotations

from collections.abc import Callable, Sized

from teola.runtime.watchdog import Watchdog

NO_ANSWER = "calls were aborted, and it neither answered nor told anything else"
NO_TOKENS = "a call timed out, and of those that ran since no token came either"


class Pulse:
    """An LLM hangs that makes no step at two looks of a watchdog while it owes something: the
    answer to an abort, or, once a call has timed out on it, tokens of what is ``running``. Time in
    which it owes nothing does not count. ``lost`` is called with the reason then."""

    def __init__(self, running: Sized, lost: Callable[[str], None]) -> None:
        self.hung = False
        self._running, self._lost = running, lost
        self._aborts = 0
        self._late = self._over = False
        self._watchdog = Watchdog(lambda: True, self._hangs)

    def timed_out(self) -> None:
        """The clock of a call that ran here has run out."""
        self._begin()
        self._late = True
        self.changed()

    def asked(self) -> None:
        """An abort goes to it."""
        self._begin()
        self._aborts += 1
        self.changed()

    def answered(self) -> None:
        """It has done that."""
        self._aborts -= 1
        self.changed()

    def heard(self) -> None:
        """It has made a step: it lives."""
        if self._late or self._aborts:
            self._late = False
            self._watchdog.watch()
            self.changed()

    def changed(self) -> None:
        """Something else is running."""
        if not self._over and (self._aborts or (self._late and self._running)):
            self._watchdog.go_on()
        else:
            self._watchdog.rest()

    def _begin(self) -> None:
        """Watch anew, if it is for the first time since it was heard."""
        if not (self._late or self._aborts):
            self._watchdog.watch()

    def _hangs(self) -> None:
        self.hung = True
        self._lost(f"it hangs: {NO_ANSWER if self._aborts else NO_TOKENS}")

    def end(self) -> None:
        """The engine is gone."""
        self._over = True
        self._watchdog.rest()
