"""Observers: who is told what a pool does."""

from __future__ import annotations

import logging
from typing import Protocol, TypeVar

from teola.runtime.observing.observations import Observation

LOG = logging.getLogger(__name__)


class Observer(Protocol):
    """Sees what happens in a pool. It is called between steps of the schedulers: it must be quick
    and must not wait."""

    def see(self, event: Observation) -> None:
        """Something happened."""
        ...


T = TypeVar("T", bound=Observer)


class Observers:
    """The observers of a pool, ``all`` of them; false where there are none, so that nothing need be
    told."""

    __slots__ = ("all",)

    def __init__(self) -> None:
        self.all: tuple[Observer, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.all)

    def add(self, observer: T) -> T:
        """Tell ``observer`` from now on; returns it."""
        self.all += (observer,)
        return observer

    def remove(self, observer: Observer) -> None:
        """Tell ``observer`` no more."""
        self.all = tuple(one for one in self.all if one is not observer)

    def tell(self, event: Observation) -> None:
        """Tell all; one that breaks is told no more, and breaks nobody else."""
        for observer in self.all:
            try:
                observer.see(event)
            except Exception:  # watching must not change what is watched
                LOG.exception("%s failed and is told no more", type(observer).__name__)
                self.remove(observer)
