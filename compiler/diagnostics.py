"""What is wrong with a file: collected, drawn for people, listed for editors.

One problem is a ``Diagnostic``; a stage adds its own to a ``Diagnostics`` and goes on, so that all
problems of a file are reported together. Messages never quote another library's words.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from teola.compiler.errors import CompileError
from teola.compiler.excerpts import excerpt, printable
from teola.compiler.spelling import nearest

if TYPE_CHECKING:
    from teola.compiler.located import Source, Span

__all__ = [
    "MAX_SHOWN",
    "Diagnostic",
    "Diagnostics",
    "Severity",
    "in_file_order",
    "nearest",
    "refusal",
    "render",
    "render_one",
    "to_json",
]

Severity = Literal["error", "warning"]

UNREAD = frozenset({"alias-cycle", "no-environment", "no-tags", "unknown-alias"})
"""Codes of values that are not what is written: whatever else is wrong with them follows."""

MAX_SHOWN = 50
"""Problems drawn before the rest is only counted."""


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
        self._items: dict[tuple[str, str, Span], Diagnostic] = {}
        self._unread: set[tuple[Source, int, int]] = set()

    def __iter__(self) -> Iterator[Diagnostic]:
        return iter(in_file_order(self._items.values()))

    def __len__(self) -> int:
        return len(self._items)

    def add(self, diagnostic: Diagnostic) -> None:
        """Add a problem; the same one at the same place is kept as it is, and what follows from a
        value that could not be read is not reported beside that."""
        place = (diagnostic.span.source, diagnostic.span.line, diagnostic.span.column)
        if place in self._unread:
            return
        if diagnostic.code in UNREAD:
            self._unread.add(place)
        key = (diagnostic.code, diagnostic.message, diagnostic.span)
        self._items.setdefault(key, diagnostic)

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
        help: str | None = None,
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
        help: str | None = None,
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
    place = f"{span.source.name}:{span.line}:{span.column}"
    lines = [f"{place}: {diagnostic.severity}[{diagnostic.code}]: {diagnostic.message}"]
    lines += excerpt(span)
    lines += [_indented(f"   {note}", "   ") for note in diagnostic.notes]
    if diagnostic.help is not None:
        lines.append(_indented(f"   help: {diagnostic.help}", "         "))
    return "\n".join(printable(line, keep="\n") for line in lines)


def _indented(text: str, by: str) -> str:
    first, *rest = text.split("\n")
    return "\n".join([first, *(by + line if line else line for line in rest)])
