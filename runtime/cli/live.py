"""Progress as a table that is drawn again and again, for terminals."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from teola.runtime.cli.state import EngineRow, Row, RunState
from teola.runtime.events import Event

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

REFRESHES_PER_SECOND = 8
BAR_WIDTH = 24
SECONDS_WIDTH = 8
FREE_LINES = 4
"""Lines of the terminal that the table leaves free."""
LEAST_MODULES = 3
"""Modules shown however low the terminal is."""

MARKS = {"waiting": "·", "running": "…", "done": "✓", "failed": "✗"}
ASCII_MARKS = {"waiting": ".", "running": "-", "done": "+", "failed": "x"}
STYLES = {"waiting": "dim", "running": "cyan", "done": "green", "failed": "red"}


class LiveProgress:
    """Engines and modules, each with what it has done and the seconds it took."""

    def __init__(self, state: RunState, console: Console) -> None:
        ascii_only = console.options.ascii_only
        self._state = state
        self._console = console
        self._live: Live | None = None
        self._seen: frozenset[Row | EngineRow] = frozenset()
        self._marks = ASCII_MARKS if ascii_only else MARKS
        self._spinner = Spinner("line" if ascii_only else "dots", style=STYLES["running"])

    def start(self) -> None:
        """Begin; after a pause only what had not ended by then is shown."""
        if self._live is None:
            self._live = Live(
                console=self._console,
                get_renderable=self.render,
                refresh_per_second=REFRESHES_PER_SECOND,
                redirect_stdout=False,
            )
            self._live.start()

    def stop(self) -> None:
        """Draw a last time and leave it there, with an empty line below."""
        if self._live is not None:
            live, self._live = self._live, None
            live.stop()
            self._console.print()
            modules = (row for row in self._state.modules.values() if row.settled)
            engines = (row for row in self._state.engines.values() if row.settled)
            self._seen = frozenset([*modules, *engines])

    def feed(self, event: Event) -> None:
        """The next drawing shows it."""

    def render(self) -> RenderableType:
        """The table as it is now."""
        engines = [row for row in tuple(self._state.engines.values()) if row not in self._seen]
        modules = [row for row in tuple(self._state.modules.values()) if row not in self._seen]
        table = _columns()
        for engine in engines:
            table.add_row(*self._cells(engine, _engine_fact(engine)))
        if engines and modules:
            table.add_row()
        room = self._console.height - FREE_LINES - len(engines)
        visible, rest = fitting(modules, max(room, LEAST_MODULES))
        for module in visible:
            table.add_row(*self._cells(module, _short(module.fact())))
        if rest:
            table.add_row("", Text(rest, style="dim"))
        return table

    def _cells(self, row: Row | EngineRow, fact: RenderableType) -> tuple[RenderableType, ...]:
        mark = Text(self._marks[row.phase], STYLES[row.phase])
        if row.phase == "waiting":
            return mark, Text(row.name, "dim")
        moving = row.phase == "running" and self._live is not None
        name = Text(row.name, "" if row.settled else "bold")
        seconds = Text(f"{self._state.seconds(row):6.1f} s", "dim")
        return self._spinner if moving else mark, name, fact, seconds


def _columns() -> Table:
    """Mark, name, fact and seconds; where the terminal is narrow the fact gives way."""
    table = Table.grid(padding=(0, 1))
    table.add_column(width=1)
    table.add_column(no_wrap=True, overflow="ellipsis")
    table.add_column()
    table.add_column(width=SECONDS_WIDTH)
    return table


def _short(words: str, style: str = "") -> Text:
    return Text(words, style, no_wrap=True, overflow="ellipsis")


def _engine_fact(row: EngineRow) -> RenderableType:
    words = _short(f"{row.state} {row.detail}".strip(), "dim")
    if row.fraction is None or row.settled:
        return words
    line = Table.grid(padding=(0, 1))
    bar = ProgressBar(total=1.0, completed=row.fraction, width=BAR_WIDTH)
    line.add_row(words, bar, Text(f"{row.fraction:.0%}"))
    return line


def fitting(rows: list[Row], room: int) -> tuple[list[Row], str]:
    """The rows to show where only ``room`` fit, in their order, and a line about the others.

    Running modules come first, then those that ended last, then the next ones waiting.
    """
    if len(rows) <= room:
        return rows, ""
    running = [row for row in rows if row.phase == "running"]
    done = [row for row in rows if row.phase == "done"]
    waiting = [row for row in rows if row.phase == "waiting"]
    chosen = {row.name for row in [*running, *reversed(done), *waiting][:room]}
    visible = [row for row in rows if row.name in chosen]
    hidden = [row.phase for row in rows if row.name not in chosen]
    counts = [f"{hidden.count(phase)} {phase}" for phase in dict.fromkeys(hidden)]
    return visible, f"and {', '.join(counts)}"
