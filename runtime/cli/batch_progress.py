"""Where a batch is: a bar on a terminal, else a line now and then."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from rich.console import Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from teola.runtime.batch import Tally
from teola.runtime.cli.live import REFRESHES_PER_SECOND, LiveProgress
from teola.runtime.cli.pace import Pace, duration
from teola.runtime.cli.plain import INTERVAL_S, PlainProgress
from teola.runtime.cli.state import Clock, RunState
from teola.runtime.cli.terminal import is_terminal
from teola.runtime.events import EngineStatus

if TYPE_CHECKING:
    from rich.console import Console, RenderableType


class BatchProgress(Protocol):
    """How a batch shows where it is."""

    def start(self) -> None:
        """Begin."""
        ...

    def engine(self, status: EngineStatus) -> None:
        """An engine says how it is."""
        ...

    def row(self) -> None:
        """One more row has ended; the tally counts it already."""
        ...

    def stop(self) -> None:
        """Leave what is shown as it is."""
        ...


class SilentBatch:
    """No progress at all (``--quiet``)."""

    def start(self) -> None:
        """Show nothing."""

    def engine(self, status: EngineStatus) -> None:
        """Show nothing."""

    def row(self) -> None:
        """Show nothing."""

    def stop(self) -> None:
        """Show nothing."""


class Course:
    """What both forms show: how far the batch is, how fast it goes, how long it will take."""

    def __init__(self, tally: Tally, clock: Clock) -> None:
        self.tally = tally
        self.pace = Pace(clock)

    @property
    def count(self) -> str:
        """``1,200/5,000``."""
        return f"{self.tally.recorded:,}/{self.tally.total:,}"

    @property
    def share(self) -> float:
        """The part that is done, from 0 to 1."""
        return self.tally.recorded / self.tally.total if self.tally.total else 1.0

    def facts(self) -> list[str]:
        """``3 errors``, ``11.8 rows/s``, ``5 min 20 s left``: what is known of them."""
        found = []
        if errors := self.tally.errors.total():
            found.append(f"{errors:,} {'error' if errors == 1 else 'errors'}")
        if (rate := self.pace.rate()) is not None:
            found.append(f"{rate:,.3g} rows/s" if rate < 100 else f"{rate:,.0f} rows/s")
            if rest := self.tally.total - self.tally.recorded:
                found.append(f"{duration(rest / rate)} left")
        return found


class LiveBatch:
    """Engines, and a bar below them."""

    def __init__(self, tally: Tally, console: Console, clock: Clock) -> None:
        self._course = Course(tally, clock)
        self._console = console
        self._state = RunState((), clock)
        self._engines = LiveProgress(self._state, console)
        self._live = Live(
            console=console,
            get_renderable=self.render,
            refresh_per_second=REFRESHES_PER_SECOND,
            redirect_stdout=False,
        )

    def start(self) -> None:
        """Draw, again and again."""
        self._live.start()

    def engine(self, status: EngineStatus) -> None:
        """The next drawing shows it."""
        self._state.feed(status)
        self._course.pace.restart()

    def row(self) -> None:
        """The next drawing shows it."""
        self._course.pace.add()

    def stop(self) -> None:
        """Draw a last time."""
        self._live.stop()

    def render(self) -> RenderableType:
        """Engines and bar as they are now."""
        line = Table.grid(padding=(0, 1), expand=True)
        line.add_column(no_wrap=True)
        line.add_column(ratio=1)
        line.add_column(no_wrap=True, justify="right")
        line.add_column(no_wrap=True, overflow="ellipsis")
        course = self._course
        line.add_row(
            Text(f"rows {course.count}", "bold"),
            ProgressBar(total=1.0, completed=course.share),
            Text(f"{course.share:.0%}"),
            Text(" · ".join(course.facts()), "dim"),
        )
        return Group(self._engines.render(), line) if self._state.engines else line


class PlainBatch:
    """A line when an engine changes its state, and one every ten seconds."""

    def __init__(self, tally: Tally, console: Console, clock: Clock) -> None:
        self._course = Course(tally, clock)
        self._console = console
        self._clock = clock
        self._said_at = clock()
        self._state = RunState((), clock)
        self._engines = PlainProgress(self._state, console)

    def start(self) -> None:
        """Nothing to open."""

    def engine(self, status: EngineStatus) -> None:
        """Write a line where it is worth one."""
        self._state.feed(status)
        self._engines.feed(status)
        self._course.pace.restart()

    def row(self) -> None:
        """Write a line if the last one is long ago."""
        self._course.pace.add()
        if self._clock() - self._said_at >= INTERVAL_S:
            self._said_at = self._clock()
            course = self._course
            facts = ", ".join([f"rows {course.count} ({course.share:.0%})", *course.facts()])
            self._console.print(facts, markup=False, highlight=False, soft_wrap=True)

    def stop(self) -> None:
        """Nothing to close."""


def open_batch_progress(
    tally: Tally, console: Console, clock: Clock, *, quiet: bool, shared: bool
) -> BatchProgress:
    """The progress that fits the terminal; ``shared``: the answers are written there, too."""
    if quiet:
        return SilentBatch()
    if is_terminal(console.file) and not console.is_dumb_terminal and not shared:
        return LiveBatch(tally, console, clock)
    return PlainBatch(tally, console, clock)
