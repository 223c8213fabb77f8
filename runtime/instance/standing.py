"""How a query stands among others: the work that it still needs, and what its runs teach."""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING

from teola.runtime.instance.generate import GenerateRun
from teola.runtime.instance.primitive import PrimitiveRun
from teola.runtime.outlook import Expected, Outlook
from teola.runtime.rank import UNRANKED, Rank

if TYPE_CHECKING:
    from teola.runtime.instance.run import Run

_numbers = count()


class Standing:
    """``left_ms`` is estimated, ``work_ms`` is what its runs were. ``open`` are the runs that have
    tasks for an engine, with what ``left_ms`` counts for each and how many of its items were sent;
    for others it counts what is expected. A run that several queries share is the work of the first
    of them alone."""

    __slots__ = ("arrived_ms", "left_ms", "number", "open", "outlook", "work_ms")

    def __init__(self, outlook: Outlook, arrived_s: float) -> None:
        self.number = next(_numbers)
        self.outlook = outlook
        self.arrived_ms = arrived_s * 1000
        self.left_ms = outlook.total_ms
        self.work_ms = 0.0
        self.open: dict[Run, tuple[float, int]] = {}

    def rank(self, run: Run, node_id: str) -> Rank:
        """How a task of a run for a node stands now."""
        expected = self.outlook.of(node_id)
        self._count(run, expected, 0)
        return Rank(
            self.number,
            self.arrived_ms,
            expected.depth,
            max(0.0, self.left_ms),
            expected.path_ms,
            expected.item_ms,
            expected.knee,
        )

    def sent(self, run: Run, node_id: str, items: int) -> None:
        """An engine has so many items of a run."""
        self._count(run, self.outlook.of(node_id), items)

    def _count(self, run: Run, expected: Expected, sent: int) -> None:
        """So many items of a run were sent, and perhaps it is known now how many it has."""
        if not isinstance(run, PrimitiveRun):
            return
        before_ms, before = self.open.get(run, (expected.work_ms, 0))
        if (total := run.total) is None:
            whole_ms = max(expected.item_ms * run.item_count, expected.work_ms)
        else:
            whole_ms = expected.item_ms * total
        due_ms = max(0.0, whole_ms - expected.item_ms * (before + sent))
        self.open[run] = due_ms, before + sent
        self.left_ms += due_ms - before_ms

    def ended(self, run: Run, node_id: str) -> None:
        """A run has ended well: less is left, and the plan's expectations follow what it was."""
        expected = self.outlook.of(node_id)
        if expected.entry is None:
            return
        due_ms, _ = self.open.pop(run, (expected.work_ms, 0))
        self.left_ms -= due_ms
        if isinstance(run, GenerateRun):
            self.work_ms += expected.did(1, run.prompt_tokens, run.completion_tokens)
        else:
            self.work_ms += expected.did(run.item_count, 0, 0)

    def over(self, *, well: bool) -> None:
        """The query has ended: it keeps no run alive, and tells what it was where it ended well."""
        self.open.clear()
        if well:
            self.outlook.ended(self.work_ms)


def rank_of(run: Run) -> Rank:
    """How a run's tasks stand: as those of the first of its users."""
    first = next(iter(run.users), None)
    return UNRANKED if first is None else first.standing.rank(run, first.prepared(run).id)


def sent(run: Run, items: int) -> None:
    """An engine has so many items of a run: the first of its users counts them."""
    first = next(iter(run.users), None)
    if first is not None:
        first.standing.sent(run, first.prepared(run).id, items)


def learn(run: Run) -> None:
    """A run has ended well: the first of its users counts it, once for all of them."""
    first = next(iter(run.users), None)
    if first is not None:
        first.standing.ended(run, first.runs[run].id)
