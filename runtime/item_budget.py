"""How many items a replica takes at once: fewer after it ran out of memory."""

from __future__ import annotations

RECOVERY = 4
"""Full batches after which a budget that was halved is doubled. It takes twice as many each time
that this turns out to be too soon, up to MOST_RECOVERY."""
MOST_RECOVERY = 256


class ItemBudget:
    """``items`` of one batch, at most ``most``; ``_before`` were as many before they were halved,
    or since they were doubled."""

    def __init__(self, most: int) -> None:
        self.most = self.items = self._before = most
        self._recovery = RECOVERY
        self._full = 0
        self._grown = False

    def halve(self, failed: int) -> None:
        """A batch of so many items was too large."""
        self._before = max(self._before, self.items)
        self.items = max(1, min(self.items, failed) // 2)
        if self._grown:
            self._recovery = min(MOST_RECOVERY, 2 * self._recovery)
        self._full, self._grown = 0, False

    def blame(self) -> None:
        """There was no memory for one item alone: batches that were too large lately were so
        because of it, we suppose. If not, one more will tell."""
        self.items, self._full, self._grown = self._before, 0, False

    def done(self, items: int) -> None:
        """A batch of so many items was not."""
        if items < self.items or self.items == self.most:
            return
        self._full += 1
        if self._full == self._recovery:
            self.items, self._full, self._grown = min(self.most, 2 * self.items), 0, True
            self._before = self.items
