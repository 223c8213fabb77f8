"""A run on the terminal: the answer on standard output, everything else on standard error."""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from teola.runtime.cli.answer import Answer
from teola.runtime.cli.progress import Progress
from teola.runtime.cli.state import RunState
from teola.runtime.cli.terminal import printable
from teola.runtime.events import Event, ModuleProgress, ModuleStarted, OutputReady, Warned

if TYPE_CHECKING:
    from rich.console import Console


class RunDisplay:
    """Shows one run.

    On one terminal (``shared``) the answer and the live table never write at one time: the table
    stops where the answer begins, and what still runs appears again below the finished answer.
    """

    def __init__(
        self,
        state: RunState,
        progress: Progress,
        answer: Answer,
        console: Console,
        *,
        shared: bool,
    ) -> None:
        self.state = state
        self.progress = progress
        self.answer = answer
        self.console = console
        self.shared = shared
        self.first_piece_s: float | None = None

    def __enter__(self) -> Self:
        self.progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.progress.stop()
        if kind is not None and not issubclass(kind, BrokenPipeError) and self.answer.break_off():
            self.say("the answer above is not complete: the run ended before it did")

    def feed(self, event: Event) -> None:
        """Show what an event says."""
        self.state.feed(event)
        if isinstance(event, Warned):
            self.warn(event.message)
        elif self.answer.takes(event):
            self._give_way()
            self.answer.feed(event)
        elif self.answer.grows and isinstance(event, OutputReady):
            self._complete(event)
        elif not (self.shared and self.answer.open):
            if self.shared and isinstance(event, (ModuleStarted, ModuleProgress)):
                self.progress.start()
            self.progress.feed(event)

    def _complete(self, event: OutputReady) -> None:
        if event.output == self.answer.name:
            self.finish(event.value)

    def finish(self, value: Any) -> None:
        """Write what is left of the whole answer."""
        self._give_way()
        self.answer.finish(value)

    def _give_way(self) -> None:
        """Let the answer have the screen; once, before its first piece."""
        if self.first_piece_s is None:
            self.first_piece_s = self.state.elapsed()
            if self.shared:
                self.progress.stop()

    def warn(self, message: str) -> None:
        """Write a warning to standard error."""
        self.say(f"warning: {message}", style="yellow")

    def say(self, line: str, style: str = "") -> None:
        """Write lines to standard error."""
        text = printable(line)
        self.console.print(text, style=style, markup=False, highlight=False, soft_wrap=True)
