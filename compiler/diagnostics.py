"""What is wrong with a file: collected, drawn for people, listed for editors.

One problem is a ``Diagnostic``; a stage adds its own to a ``Diagnostics`` and goes on, so that all
problems of a file are reported together. Messages never quote another library's words.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from teola.compiler.errors import CompileError

if TYPE_CHECKING:
    from teola.compiler.located import Source, Span

Severity = Literal["error", "warning"]

MAX_SHOWN = 50
"""Problems drawn before the rest is only counted."""

_MAX_WORD = 64
"""Longer words are not compared letter by letter."""

_PREFIX = 3
"""Letters that two words share before one counts as the beginning of the other."""

_MAX_WIDTH = 110
"""Columns of a source line that are drawn; longer lines are cut around the span."""


@dataclass(frozen=True)
class Diagnostic:
    """One problem: a stable ``code``, what is wrong, where, what exists and what would be right."""

    code: str
    message: str
    span: Span
    notes: tuple[str, ...] = ()
    help: str | None = None
    severity: Severity = "error"


class Diagnostics:
    """Collects the problems of one compilation; the same problem twice counts once."""

    def __init__(self) -> None:
        self._items: dict[tuple[str, Span], Diagnostic] = {}

    def __iter__(self) -> Iterator[Diagnostic]:
        return iter(in_file_order(self._items.values()))

    def __len__(self) -> int:
        return len(self._items)

    def add(self, diagnostic: Diagnostic) -> None:
        """Add a problem; one with the same code at the same place is kept as it is."""
        self._items.setdefault((diagnostic.code, diagnostic.span), diagnostic)

    def extend(self, diagnostics: Iterable[Diagnostic]) -> None:
        """Add several problems."""
        for diagnostic in diagnostics:
            self.add(diagnostic)

    def error(
        self,
        code: str,
        message: str,
        span: Span,
        *,
        notes: Sequence[str] = (),
        help: str | None = None,  # noqa: A002 - what diagnostics call it
    ) -> None:
        """Add an error: the file cannot be compiled."""
        self.add(Diagnostic(code, message, span, tuple(notes), help))

    def warning(
        self,
        code: str,
        message: str,
        span: Span,
        *,
        notes: Sequence[str] = (),
        help: str | None = None,  # noqa: A002 - what diagnostics call it
    ) -> None:
        """Add a lint: the file compiles, but probably says something else than was meant."""
        self.add(Diagnostic(code, message, span, tuple(notes), help, "warning"))

    @property
    def errors(self) -> tuple[Diagnostic, ...]:
        """The errors, in file order."""
        return tuple(item for item in self if item.severity == "error")

    @property
    def warnings(self) -> tuple[Diagnostic, ...]:
        """The lints, in file order."""
        return tuple(item for item in self if item.severity == "warning")

    def raise_if_errors(self) -> None:
        """Raise a CompileError that carries every problem if there is at least one error."""
        if self.errors:
            raise CompileError(render(self), tuple(self))


def refusal(*diagnostics: Diagnostic) -> CompileError:
    """Return the error to raise where nothing can be checked at all."""
    return CompileError(render(diagnostics), diagnostics)


def in_file_order(diagnostics: Iterable[Diagnostic]) -> list[Diagnostic]:
    """Sort by position within each file; files keep the order in which they first appear."""
    items = list(diagnostics)
    files: dict[Source, int] = {}
    for item in items:
        files.setdefault(item.span.source, len(files))
    return sorted(
        items, key=lambda item: (files[item.span.source], item.span.line, item.span.column)
    )


def to_json(diagnostics: Iterable[Diagnostic]) -> list[dict[str, object]]:
    """Return the problems as plain data for editors; lines and columns count from 1."""
    return [
        {
            "code": item.code,
            "severity": item.severity,
            "message": item.message,
            "file": item.span.source.name,
            "line": item.span.line,
            "column": item.span.column,
            "end_line": item.span.end_line,
            "end_column": item.span.end_column,
            "notes": list(item.notes),
            "help": item.help,
        }
        for item in in_file_order(diagnostics)
    ]


def render(diagnostics: Iterable[Diagnostic], *, limit: int = MAX_SHOWN) -> str:
    """Draw the problems for a terminal, in file order, without a final newline."""
    items = in_file_order(diagnostics)
    drawn = [render_one(item) for item in items[:limit]]
    if len(items) > limit:
        drawn.append(f"... and {len(items) - limit} more problems")
    return "\n\n".join(drawn)


def render_one(diagnostic: Diagnostic) -> str:
    """Draw one problem: place and message, the line with a caret underline, notes, help."""
    span = diagnostic.span
    lines = [
        f"{span.source.name}:{span.line}:{span.column}: "
        f"{diagnostic.severity}[{diagnostic.code}]: {diagnostic.message}"
    ]
    lines += _excerpt(span)
    lines += [_indented(f"   {note}", "   ") for note in diagnostic.notes]
    if diagnostic.help is not None:
        lines.append(_indented(f"   help: {diagnostic.help}", "         "))
    return "\n".join(printable(line, keep="\n") for line in lines)


def printable(text: str, *, keep: str = "") -> str:
    """Return ``text`` with everything that could move a terminal's cursor written as an escape."""
    if text.isprintable():
        return text
    return "".join(_shown(char) if char not in keep else char for char in text)


def nearest(word: str, candidates: Iterable[str]) -> str | None:
    """Return the candidate that ``word`` was probably meant to be, or None.

    Letter case, ``-`` against ``_``, swapped neighbours, one or two typing errors (by length) and
    a plural or a beginning of at least three letters are recognised.
    """
    wanted = _folded(word)
    ranked = []
    for position, candidate in enumerate(candidates):
        other = _folded(candidate)
        distance = edit_distance(wanted, other)
        close = distance <= max(1, min(len(wanted), len(other)) // 3)
        prefix = min(len(wanted), len(other)) >= _PREFIX and (
            other.startswith(wanted) or wanted.startswith(other)
        )
        if close or prefix:
            ranked.append((distance if close else distance + 10, position, candidate))
    return min(ranked)[2] if ranked else None


def edit_distance(left: str, right: str) -> int:
    """Return how many insertions, deletions, changes or swaps of neighbours turn one into the
    other (optimal string alignment, counted to the longer length at most)."""
    if max(len(left), len(right)) > _MAX_WORD:
        return max(len(left), len(right))
    before: list[int] = []
    previous: list[int] = []
    row = list(range(len(right) + 1))
    for i, a in enumerate(left, 1):
        before, previous, row = previous, row, [i]
        for j, b in enumerate(right, 1):
            cost = min(previous[j] + 1, row[j - 1] + 1, previous[j - 1] + (a != b))
            if i > 1 and j > 1 and a == right[j - 2] and left[i - 2] == b:
                cost = min(cost, before[j - 2] + 1)
            row.append(cost)
    return row[-1]


def _folded(word: str) -> str:
    return word.casefold().replace("-", "_").replace(" ", "_")


def _excerpt(span: Span) -> list[str]:
    """Draw the span's first line with carets below it, aligned also after wide characters."""
    text = span.source.line(span.line)
    if text is None:
        return []
    start = min(span.column - 1, len(text))
    end = span.end_column - 1 if span.end_line == span.line else len(text.rstrip())
    end = max(min(end, len(text)), start + 1)
    text, start, end = _cut(text, start, end)
    gutter = f"{span.line:>5} | "
    carets = "^" * max(1, _width(text[start:end]))
    return [
        (gutter + _drawn(text)).rstrip(),
        " " * (len(gutter) + _width(text[:start])) + carets,
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


def _indented(text: str, by: str) -> str:
    first, *rest = text.split("\n")
    return "\n".join([first, *(by + line if line else line for line in rest)])


def _shown(char: str) -> str:
    """Return one character as it can be drawn: tabs as a space, the unprintable as an escape."""
    if char.isprintable():
        return char
    if char == "\t":
        return " "
    if unicodedata.category(char) == "Zs":
        return " "
    return f"\\x{ord(char):02x}" if ord(char) < 256 else f"\\u{ord(char):04x}"


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
    width: Callable[[str], int] = _char_width
    return sum(map(width, text))
