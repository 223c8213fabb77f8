"""How much of the time engines have had something to do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from teola.runtime.observing.observations import Load, Observation


@dataclass(slots=True)
class _Engine:
    """``running`` on each replica since ``at_s``, when ``busy_s`` was reckoned."""

    at_s: float
    running: dict[int, int] = field(default_factory=dict)
    busy_s: float = 0.0


class BusyTime:
    """An observer that adds up the time in which anything ran on an engine, on whichever of its
    replicas."""

    def __init__(self) -> None:
        self._engines: dict[str, _Engine] = {}

    def see(self, event: Observation) -> None:
        """Add it up."""
        if isinstance(event, Load):
            engine = self._engines.setdefault(event.engine.name, _Engine(event.at_s))
            if any(engine.running.values()):
                engine.busy_s += event.at_s - engine.at_s
            engine.running[event.engine.replica] = event.running
            engine.at_s = event.at_s

    def seconds(self) -> Mapping[str, float]:
        """Engine -> how long it was busy, until its load changed last."""
        return {name: engine.busy_s for name, engine in self._engines.items()}
