"""How many calls an LLM runs at once: fewer after it ran out of memory."""

from __future__ import annotations

from teola.runtime.engines.protocol import Capabilities
from teola.runtime.item_budget import ItemBudget

AHEAD = 8
"""A replica that orders by itself what waits in it gets one call more for every so many that it
runs at once, whatever they may take of its KV: it knows better than our account what they do."""


class CallBudget(ItemBudget):
    """``items`` are the calls, warm-ups among them, that one replica runs at once. It outlives the
    replica's deaths; of what it knows of calls, ``began`` forgets all.

    What runs out of memory fails in one message or in several: only a call that was sent since it
    was halved (``_new``) halves it again. So many calls that end well are a full batch, if as many
    ran at once meanwhile (``_peak``). ``_lone``: the call beside which nothing has ever run.
    """

    def __init__(self, capabilities: Capabilities) -> None:
        super().__init__(_most(capabilities))
        self.began(capabilities)

    def began(self, capabilities: Capabilities) -> None:
        """The replica is up (again)."""
        most = _most(capabilities)
        self.items = most if self.items == self.most else min(self.items, most)
        self.most, self._before = most, min(self._before, most)
        self._new: set[str] = set()
        self._lone = ""
        self._peak = self._well = 0

    def sent(self, name: str, running: int) -> None:
        """A call begins, of so many that run then."""
        self._new.add(name)
        self._lone = name if running == 1 else ""
        self._peak = max(self._peak, running)

    def crowded(self, name: str, running: int) -> bool:
        """There was no memory for one of so many calls: whether others may be what took it."""
        if name == self._lone:
            self.blame()
            return False
        if name in self._new:
            self.halve(running)
            self._new.clear()
            self._peak = self._well = 0
        return True

    def ended(self, name: str, *, well: bool) -> None:
        """A call runs no more."""
        self._new.discard(name)
        self._well += well
        if self._well >= self.items:
            self.done(self._peak)
            self._peak = self._well = 0


def _most(capabilities: Capabilities) -> int:
    most = capabilities.max_requests
    return most + -(-most // AHEAD) if capabilities.priority else most
