"""``--timeline`` of a batch: its slowest row, and how busy engines were in the whole time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from teola.runtime.cli.watching import show_timeline
from teola.runtime.observing.busy_time import BusyTime
from teola.runtime.observing.observations import Observation, QueryEnded
from teola.runtime.observing.timeline import Timeline, WorkLog

if TYPE_CHECKING:
    from pathlib import Path

    from rich.console import Console

    from teola.runtime.batch import Answer, Tally
    from teola.runtime.result import RunResult


class BatchTimeline:
    """An observer of a batch. Of the engines' work it keeps what belongs to rows that run."""

    def __init__(self) -> None:
        self._log, self._busy = WorkLog(), BusyTime()
        self._slowest: tuple[Answer, RunResult, Timeline] | None = None

    def see(self, event: Observation) -> None:
        """Note what engines do."""
        self._log.see(event)
        self._busy.see(event)
        if isinstance(event, QueryEnded) and event.error is not None:
            self._log.forget(event.run_id)

    def ended(self, answer: Answer) -> None:
        """A row has ended."""
        if (result := answer.result) is None:
            return
        if self._slowest is None or answer.seconds > self._slowest[0].seconds:
            self._slowest = answer, result, self._log.timeline(result)
        self._log.forget(result.run_id)

    def show(self, console: Console, tally: Tally, profile: Path | None) -> None:
        """Write the chart of the slowest row that has been answered, and the engines' shares."""
        if self._slowest is None:
            return
        answer, result, timeline = self._slowest
        title = f"Timeline of {answer.row.label}, the slowest of {tally.answered:,} answered"
        show_timeline(console, timeline, result, profile, title)
        busiest = sorted(self._busy.seconds().items(), key=lambda one: -one[1])
        busy = ", ".join(f"{name} {busy_s / tally.seconds:.0%}" for name, busy_s in busiest)
        console.print(f"Busy while all rows ran: {busy}", highlight=False, soft_wrap=True)
