"""What is known of a run while it goes on: fed with events, read by the progress displays."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from teola.runtime.events import (
    EngineStatus,
    Event,
    ModuleFinished,
    ModuleProgress,
    ModuleStarted,
)

Clock: TypeAlias = Callable[[], float]
Phase: TypeAlias = Literal["waiting", "running", "done", "failed"]

SETTLED = ("ready", "failed")
"""What an engine says when it is no longer starting."""


@dataclass(slots=True, eq=False)
class Row:
    """One module: ``done`` of ``total`` items, ``seconds`` once it has ended."""

    name: str
    phase: Phase = "waiting"
    since: float = 0.0
    seconds: float = 0.0
    done: int = 0
    total: int | None = None
    detail: str = ""

    @property
    def settled(self) -> bool:
        """Whether it has ended."""
        return self.phase in ("done", "failed")

    def fact(self) -> str:
        """``96/312``, or what the module said at its end; nothing where a count says nothing."""
        counts = ""
        if self.total is not None and self.total > 1:
            counts = f"{self.done}/{self.total}"
        elif self.done > 1:
            counts = str(self.done)
        return " ".join(filter(None, (counts, self.detail if self.settled else "")))


@dataclass(slots=True, eq=False)
class EngineRow:
    """One engine: what it said last, and the seconds it took to start."""

    name: str
    state: str = ""
    fraction: float | None = None
    detail: str = ""
    since: float = 0.0
    seconds: float = 0.0

    @property
    def settled(self) -> bool:
        """Whether it is no longer starting."""
        return self.state in SETTLED

    @property
    def phase(self) -> Phase:
        """Its state in the words of a module."""
        if self.state == "failed":
            return "failed"
        return "done" if self.settled else "running"


class RunState:
    """Modules of one run in the order of the workflow, engines as they report."""

    def __init__(self, modules: Sequence[str], clock: Clock) -> None:
        self.modules = {name: Row(name) for name in modules}
        self.engines: dict[str, EngineRow] = {}
        self.clock = clock
        self.started = clock()

    def feed(self, event: Event) -> None:
        """Take in one event; those that concern no module and no engine change nothing."""
        match event:
            case EngineStatus():
                self._engine(event)
            case ModuleStarted(module=module):
                row = self._row(module)
                row.phase, row.since = "running", self.clock()
            case ModuleProgress(module=module, done=done, total=total):
                row = self._row(module)
                row.done, row.total = done, total
            case ModuleFinished(module=module, duration_s=seconds, detail=detail):
                row = self._row(module)
                row.phase, row.seconds, row.detail = "done", seconds, detail
            case _:
                pass

    def _row(self, name: str) -> Row:
        return self.modules.setdefault(name, Row(name))

    def _engine(self, status: EngineStatus) -> None:
        now = self.clock()
        row = self.engines.setdefault(status.engine, EngineRow(status.engine, since=now))
        if row.settled and status.state not in SETTLED:
            row.since = now  # it starts again
        if not row.settled:
            row.seconds = now - row.since
        row.state, row.fraction = status.state, status.fraction
        row.detail = "" if status.state == "failed" else status.detail  # the run's error says why

    def elapsed(self) -> float:
        """Seconds since the run began."""
        return self.clock() - self.started

    def seconds(self, row: Row | EngineRow) -> float:
        """How long a row took, or has taken so far."""
        return row.seconds if row.settled else self.clock() - row.since
