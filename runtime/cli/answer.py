"""The main output on standard output: as it grows on a terminal, else once it is whole."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from teola.runtime.cli.outputs import format_item, format_value
from teola.runtime.cli.terminal import printable
from teola.runtime.events import Event, ItemAdded, TextDelta


class Answer:
    """Writes the main output exactly once.

    Where it grows on the screen (``grows``), every piece is written when it comes and control
    characters are left out. Elsewhere nothing is written before the run has ended well: a file or
    a pipe never holds part of an answer.
    """

    def __init__(
        self, name: str, kind: str, write: Callable[[str], object], *, grows: bool
    ) -> None:
        self.name = name
        self.kind = kind
        self._write = write
        self.grows = grows
        self._text = ""
        self._items = 0
        self._ended = False

    @property
    def begun(self) -> bool:
        """Whether something has been written."""
        return bool(self._text or self._items)

    @property
    def open(self) -> bool:
        """Whether something has been written and more is to come."""
        return self.begun and not self._ended

    def takes(self, event: Event) -> bool:
        """Whether ``event`` is a piece of this output that is to be written now."""
        return (
            self.grows
            and not self._ended
            and isinstance(event, (TextDelta, ItemAdded))
            and event.output == self.name
        )

    def feed(self, event: Event) -> None:
        """Write a piece (see ``takes``)."""
        if isinstance(event, TextDelta):
            self._text += event.text
            self._write(printable(event.text))
        elif isinstance(event, ItemAdded):
            self._items += 1
            self._write(format_item(event.value, self.kind, self._items) + "\n")

    def finish(self, value: Any) -> None:
        """Write what is missing of the whole value, and end the line."""
        if self._ended:
            return
        self._ended = True
        if isinstance(value, list):
            for number, item in enumerate(value[self._items :], self._items + 1):
                self._write(format_item(item, self.kind, number) + "\n")
            return
        text = format_value(value, self.kind)
        end = "" if text.endswith("\n") else "\n"
        rest = text.removeprefix(self._text) + end
        self._write(printable(rest) if self.grows else rest)

    def break_off(self) -> bool:
        """End the line of an answer that will not be completed; True where there was one."""
        if not self.open:
            return False
        self._ended = True
        if not self._items:
            self._write("\n")
        return True
