"""Texts and places in them: sources, spans, and trees of plain data that know where they stand."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from teola.compiler.diagnostics import Diagnostic, refusal
from teola.compiler.hints import files

if TYPE_CHECKING:
    from yaml import Mark

TreePath: TypeAlias = "tuple[str | int, ...]"
"""The keys and list positions that lead to a value: ``("modules", "best", "with", "top_k")``."""

Marks: TypeAlias = "tuple[Mark, Mark]"
"""libyaml's marks of the first character and of the one after the last."""

MAX_BYTES = 1 << 20
"""Longer files are refused."""

_LINE_BREAK = re.compile("\r\n|\r|\n")
BYTE_ORDER_MARK = "\ufeff"


@dataclass(frozen=True, eq=False)
class Source:
    """A text and the name it has in diagnostics (the path as the user gave it)."""

    name: str
    text: str

    @classmethod
    def read(cls, path: str | Path) -> Source:
        """Read a file as UTF-8; a byte order mark at its beginning is dropped.

        Raises:
            CompileError: the file cannot be read, is too large, or is not UTF-8.
        """
        name = str(path)
        try:
            with Path(path).open("rb") as file:
                content = file.read(MAX_BYTES + 1)
        except (OSError, ValueError) as error:
            raise refusal(cls(name, "").problem(files.unreadable(error))) from error
        if len(content) > MAX_BYTES:
            raise refusal(cls(name, "").problem(files.too_large(MAX_BYTES)))
        try:
            return cls(name, content.decode("utf-8-sig"))
        except UnicodeDecodeError as error:
            shown = cls(name, content.decode("utf-8", "replace"))
            raise refusal(shown.problem(files.not_utf8(content, error.start))) from error

    @cached_property
    def lines(self) -> tuple[str, ...]:
        """The lines, without their ends."""
        return tuple(_LINE_BREAK.split(self.text.removeprefix(BYTE_ORDER_MARK)))

    def line(self, number: int) -> str | None:
        """Return line ``number`` (from 1), or None where there is none."""
        return self.lines[number - 1] if 1 <= number <= len(self.lines) else None

    def start(self) -> Span:
        """Return the span of the first character."""
        return Span(self, 1, 1, 1, 1)

    def problem(self, problem: files.FileProblem) -> Diagnostic:
        """Return a problem of the file itself as a diagnostic."""
        span = Span(self, problem.line, problem.column, problem.line, problem.column + 1)
        return Diagnostic(problem.code, problem.message, span, (), problem.help)


@dataclass(frozen=True, slots=True)
class Span:
    """A piece of a source: lines and columns count characters from 1, the end is exclusive."""

    source: Source
    line: int
    column: int
    end_line: int
    end_column: int


@dataclass(frozen=True)
class LocatedTree:
    """Plain data and where it stands. ``data`` is never changed."""

    source: Source
    data: object
    value_spans: Mapping[TreePath, Span | Marks] = field(repr=False)
    key_spans: Mapping[TreePath, Span | Marks] = field(repr=False)

    def value_span(self, path: TreePath) -> Span:
        """Return where the value at ``path`` stands; the nearest known ancestor answers."""
        while path and path not in self.value_spans:
            path = path[:-1]
        return self._span(self.value_spans.get(path))

    def key_span(self, path: TreePath) -> Span:
        """Return where the key that ends ``path`` stands, or its value where there is no key."""
        if path in self.key_spans:
            return self._span(self.key_spans[path])
        return self.value_span(path)

    def _span(self, marks: Span | Marks | None) -> Span:
        if marks is None:
            return self.source.start()
        return marks if isinstance(marks, Span) else span_of(self.source, marks)


def span_of(source: Source, marks: Marks) -> Span:
    """Turn libyaml's marks (from 0) into a span."""
    start, end = marks
    return Span(source, start.line + 1, start.column + 1, end.line + 1, end.column + 1)
