"""A line of a source with a span underlined, as a terminal shows it."""

from __future__ import annotations

import unicodedata
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from teola.compiler.located import Span

_MAX_WIDTH = 110
"""Columns of a source line that are drawn; longer lines are cut around the span."""

_BYTE = 256
"""Characters below are written as two hexadecimal digits."""


def excerpt(span: Span) -> list[str]:
    """Draw the span's first line with carets below it, aligned also after wide characters."""
    text = span.source.line(span.line)
    if text is None or not span.source.text:
        return []
    start = min(span.column - 1, len(text))
    end = span.end_column - 1 if span.end_line == span.line else len(text.rstrip())
    end = max(min(end, len(text)), start + 1)
    text, start, end = _cut(text, start, end)
    gutter = f"{span.line:>5} | "
    carets = "^" * max(1, _width(text[start:end]))
    return [
        (gutter + _drawn(text)).rstrip(),
        " " * (len(gutter) - 2) + "| " + " " * _width(text[:start]) + carets,
    ]


def _cut(text: str, start: int, end: int) -> tuple[str, int, int]:
    """Keep what fits a terminal, with the beginning of the span inside."""
    if len(text) <= _MAX_WIDTH:
        return text, start, end
    first = max(0, min(start - _MAX_WIDTH // 3, len(text) - _MAX_WIDTH))
    last = min(len(text), first + _MAX_WIDTH)
    head, tail = ("…" if first else ""), ("…" if last < len(text) else "")
    shift = len(head) - first
    return head + text[first:last] + tail, start + shift, min(end, last) + shift


def printable(text: str, *, keep: str = "") -> str:
    """Return ``text`` with everything that could move a terminal's cursor written as an escape."""
    if text.isprintable():
        return text
    return "".join(_shown(char) if char not in keep else char for char in text)


def _shown(char: str) -> str:
    """Return one character as it can be drawn: tabs as a space, the unprintable as an escape."""
    if char.isprintable():
        return char
    if char == "\t":
        return " "
    if unicodedata.category(char) == "Zs":
        return " "
    return f"\\x{ord(char):02x}" if ord(char) < _BYTE else f"\\u{ord(char):04x}"


def _drawn(text: str) -> str:
    return "".join(map(_shown, text))


def _char_width(char: str) -> int:
    if not char.isprintable():
        return len(_shown(char))
    if unicodedata.combining(char) or unicodedata.category(char) in ("Mn", "Me"):
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1


def _width(text: str) -> int:
    """Columns that ``text`` takes on a terminal as drawn."""
    if text.isascii() and text.isprintable():
        return len(text)
    return sum(map(_char_width, text))
