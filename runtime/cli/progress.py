"""Progress on standard error: a live table on a terminal, else a few plain lines."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from teola.runtime.cli.live import LiveProgress
from teola.runtime.cli.plain import PlainProgress
from teola.runtime.cli.state import RunState
from teola.runtime.cli.terminal import is_terminal
from teola.runtime.events import Event

if TYPE_CHECKING:
    from rich.console import Console


class Progress(Protocol):
    """How a run shows where it is."""

    def start(self) -> None:
        """Begin, or go on after ``stop``."""
        ...

    def feed(self, event: Event) -> None:
        """Show what an event changed; the run's state knows it already."""
        ...

    def stop(self) -> None:
        """Leave what is shown as it is: someone else writes now, or the run is over."""
        ...


class Silence:
    """No progress at all (``--quiet``)."""

    def start(self) -> None:
        """Show nothing."""

    def feed(self, event: Event) -> None:
        """Show nothing."""

    def stop(self) -> None:
        """Show nothing."""


def open_progress(
    state: RunState, console: Console, *, quiet: bool, noun: str = "engine"
) -> Progress:
    """The progress that fits the terminal; ``noun`` is what plain lines call an engine."""
    if quiet:
        return Silence()
    if is_terminal(console.file) and not console.is_dumb_terminal:
        return LiveProgress(state, console)
    return PlainProgress(state, console, noun)
