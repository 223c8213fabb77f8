"""Lines that become items as they end."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from teola.runtime.engines.protocol import Grammar

_MARKER = re.compile(r"^\s*(?:(?:[-*•–+]|\(?\d{1,3}[.):]|#+)(?:\s+|$)|\(?\d{1,3}\)\s*)")


class LinesShape:
    """One item a line: blank lines, list marks and repetitions dropped.

    ``wanted``: decoding stops once so many items are complete (None: no limit). ``exclude``: lines
    that count as repetitions from the start.
    """

    port = "lines"
    value: Any = None
    grammar: Grammar | None = None

    def __init__(self, wanted: int | None, exclude: Iterable[str] = ()) -> None:
        self.wanted = wanted
        self.seen = {clean_line(line) for line in exclude}
        self.found = 0
        self.rest = ""

    @property
    def full(self) -> bool:
        """Whether all items are there."""
        return self.wanted is not None and self.found >= self.wanted

    def push(self, text: str) -> tuple[str, list[str]]:
        """Take more text; what follows the last item's line end does not count."""
        items: list[str] = []
        taken = 0
        while not self.full:
            end = text.find("\n", taken)
            if end < 0:
                self.rest += text[taken:]
                return text, items
            self._complete(self.rest + text[taken:end], items)
            self.rest = ""
            taken = end + 1
        return text[:taken], items

    def finish(self, truncated: bool) -> list[str]:
        """A last line without its end is an item, unless the token limit cut it off."""
        items: list[str] = []
        if not truncated and not self.full:
            self._complete(self.rest, items)
        return items

    def _complete(self, line: str, items: list[str]) -> None:
        item = clean_line(line)
        if item and item not in self.seen:
            self.seen.add(item)
            self.found += 1
            items.append(item)


def clean_line(line: str) -> str:
    """A line without its list mark (``- ``, ``* ``, ``1. ``, ``2) ``) and outer space."""
    return _MARKER.sub("", line).strip()
