"""Where something of a template stands: in its YAML scalar, or in a file of its own."""

from __future__ import annotations

import re
from dataclasses import dataclass

from teola.compiler.check.context import Context
from teola.compiler.source import Source, Span, TreePath


@dataclass(frozen=True)
class TemplatePlace:
    """One template: the value at ``path`` of the workflow, or the whole of ``file``."""

    context: Context
    path: TreePath
    file: Source | None = None

    def line(self, line: int) -> Span:
        """Where a line of the template stands (from 1)."""
        return self.find(line, r"\S.*\S|\S", whole_line=True)

    def word(self, line: int, word: str) -> Span:
        """Where a name first stands in a line of the template."""
        return self.find(line, rf"(?<![\w.]){re.escape(word)}\b")

    def find(self, line: int, pattern: str, *, whole_line: bool = False) -> Span:
        """Where a pattern first matches in a line of the template; the nearest around it else."""
        if self.file is not None:
            return _in_line(self.file, line, pattern) or self.file.start()
        whole = self.context.tree.value_span(self.path)
        first = whole.source.line(whole.line) or ""
        block = first[whole.column - 1 : whole.column] in ("|", ">")
        number = whole.line + line - (0 if block else 1)
        inside = number == whole.line and whole.column > 1
        if number > whole.end_line or (whole_line and inside):
            return whole
        return _in_line(whole.source, number, pattern, whole) or whole


def _in_line(source: Source, number: int, pattern: str, inside: Span | None = None) -> Span | None:
    text = source.line(number)
    if text is None:
        return None
    start = inside.column - 1 if inside is not None and number == inside.line else 0
    end = inside.end_column - 1 if inside is not None and number == inside.end_line else len(text)
    match = re.compile(pattern).search(text, start, end)
    if match is None:
        return None
    return Span(source, number, match.start() + 1, number, match.end() + 1)
