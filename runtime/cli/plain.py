"""Progress as plain lines, for logs and pipes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from teola.runtime.cli.state import EngineRow, RunState
from teola.runtime.events import EngineStatus, Event, ModuleFinished, ModuleProgress

if TYPE_CHECKING:
    from rich.console import Console

INTERVAL_S = 10.0
"""Least time between two lines about one running module or one download."""


class PlainProgress:
    """A line when an engine changes its state and when a module ends; rarely one in between."""

    def __init__(self, state: RunState, console: Console, noun: str = "engine") -> None:
        self._state = state
        self._noun = noun
        self._console = console
        self._engines: dict[str, str] = {}
        self._said_at: dict[str, float] = {}

    def start(self) -> None:
        """Nothing to open."""

    def stop(self) -> None:
        """Nothing to close."""

    def feed(self, event: Event) -> None:
        """Write a line where the event is worth one."""
        match event:
            case EngineStatus(engine=name):
                self._engine(self._state.engines[name])
            case ModuleFinished(module=name):
                row = self._state.modules[name]
                facts = f" ({row.fact()})" if row.fact() else ""
                self._say(f"{name}: done in {row.seconds:.1f} s{facts}")
            case ModuleProgress(module=name):
                row = self._state.modules[name]
                if row.fact() and self._due(name, row.since):
                    self._say(f"{name}: {row.fact()} after {self._state.seconds(row):.0f} s")
            case _:
                pass

    def _engine(self, row: EngineRow) -> None:
        changed = self._engines.get(row.name) != row.state
        self._engines[row.name] = row.state
        if not changed and not (row.fraction is not None and self._due(row.name, row.since)):
            return
        self._said_at[row.name] = self._state.clock()
        share = f" {row.fraction:.0%}" if row.fraction else ""
        took = f" in {row.seconds:.1f} s" if row.state == "ready" else ""
        detail = f": {row.detail}" if row.detail else ""
        self._say(f"{self._noun} {row.name}: {row.state}{share}{took}{detail}")

    def _due(self, name: str, since: float) -> bool:
        now = self._state.clock()
        if now - self._said_at.get(name, since) < INTERVAL_S:
            return False
        self._said_at[name] = now
        return True

    def _say(self, line: str) -> None:
        self._console.print(line, markup=False, highlight=False, soft_wrap=True)
