"""Which replica of a store a collection lives on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from teola.runtime.replica import Replica


class Placement:
    """A collection stays where it was first asked for: on the replica with the least to do then, of
    equals the one with the fewest collections."""

    def __init__(self, replicas: Sequence[Replica]) -> None:
        self._replicas = replicas
        self._homes: dict[str, Replica] = {}
        self._held: Counter[int] = Counter()

    def of(self, collection: str) -> Replica:
        """Where it lives, from now on at the latest."""
        if collection not in self._homes:
            home = min(self._replicas, key=lambda one: (one.outstanding, self._held[one.number]))
            self._homes[collection] = home
            self._held[home.number] += 1
        return self._homes[collection]

    def forget(self, collection: str) -> None:
        """It is gone."""
        if (home := self._homes.pop(collection, None)) is not None:
            self._held[home.number] -= 1
