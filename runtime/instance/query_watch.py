"""What the observers of a pool hear of a query."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from teola.runtime.errors import RunError
from teola.runtime.instance.account import Runs, entry_of
from teola.runtime.instance.blueprint import Prepared
from teola.runtime.observing.label import LABEL
from teola.runtime.observing.observations import (
    Outcome,
    PrimitiveBegan,
    PrimitiveEnded,
    PrimitiveKey,
    QueryBegan,
    QueryEnded,
)
from teola.runtime.observing.observers import Observers

if TYPE_CHECKING:
    from teola.runtime.instance.run import Run

OUTCOMES: Mapping[str, Outcome] = {"done": "done", "failed": "failed"}
"""A run's state -> what became of it for a query that is over."""


class QueryWatch:
    """Tells observers of one query and its runs; only to be asked where there are some."""

    __slots__ = ("began_s", "now", "observers", "run_id", "untold", "workflow")

    def __init__(
        self,
        observers: Observers,
        run_id: str,
        workflow: str,
        now: Callable[[], float],
        began_s: float,
    ) -> None:
        self.observers, self.run_id, self.workflow = observers, run_id, workflow
        self.now, self.began_s = now, began_s
        self.untold: dict[Run, None] = {}
        if observers:
            observers.tell(QueryBegan(run_id, workflow, began_s, LABEL.get()))

    def key(self, run: Run, prepared: Prepared) -> PrimitiveKey:
        """What observers know a run of the query by."""
        return PrimitiveKey(self.run_id, prepared.id, run.scope.path)

    def began(self, run: Run, prepared: Prepared) -> None:
        """A run, or a warm-up, begins."""
        self.untold[run] = None
        place = prepared.place
        self.observers.tell(
            PrimitiveBegan(self.key(run, prepared), place.module, place.engine, self.now())
        )

    def ended(self, run: Run, prepared: Prepared, outcome: Outcome = "done") -> None:
        """A run is over."""
        self.untold.pop(run, None)
        if run.queued_s is not None:
            entry = entry_of(run, prepared, self.began_s, self.now())
            key = self.key(run, prepared)
            self.observers.tell(PrimitiveEnded(key, entry, self.began_s, outcome))

    def over(self, runs: Runs, hints: Runs, error: RunError | None) -> None:
        """The query is over: so is what has begun for it, and its warm-ups."""
        for run, prepared in runs.items():
            if run in self.untold:
                self.ended(run, prepared, OUTCOMES.get(run.state, "cancelled"))
        for run, prepared in hints.items():
            self.ended(run, prepared)
        ended = QueryEnded(self.run_id, self.workflow, self.began_s, self.now(), error)
        self.observers.tell(ended)
