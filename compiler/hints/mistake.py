"""Where YAML stopped making sense, as the explanations see it."""

from __future__ import annotations

from dataclasses import dataclass

from teola.compiler.diagnostics import Diagnostic
from teola.compiler.hints.rewriting import replace_line
from teola.compiler.located import Source, Span


@dataclass(frozen=True)
class Explained:
    """A mistake in words; ``repaired`` is the text with what was meant, if that is clear."""

    diagnostic: Diagnostic
    line: int
    repaired: str | None = None


@dataclass(frozen=True)
class Mistake:
    """libyaml's complaint: lines and columns count from 0 and are inside of ``lines``."""

    source: Source
    lines: tuple[str, ...]
    problem: str
    context: str
    line: int
    column: int
    context_line: int | None
    context_column: int

    @property
    def text(self) -> str:
        """The line where reading stopped."""
        return self.lines[self.line]

    def previous(self) -> int | None:
        """Return the number of the last line before that says something."""
        for number in range(self.line - 1, -1, -1):
            if self.lines[number].strip() and not self.lines[number].lstrip().startswith("#"):
                return number
        return None

    def explained(
        self,
        code: str,
        message: str,
        line: int,
        start: int,
        end: int,
        *,
        help: str | None = None,
        notes: tuple[str, ...] = (),
        repaired_line: str | None = None,
        until: int | None = None,
    ) -> Explained:
        """Explain columns ``start`` to ``end`` (from 0) of a line, and how the line was meant."""
        span = Span(self.source, line + 1, start + 1, line + 1, max(end, start + 1) + 1)
        repaired = None
        if repaired_line is not None and repaired_line != self.lines[line]:
            repaired = replace_line(self.lines, line, repaired_line, until=until)
        return Explained(Diagnostic(code, message, span, notes, help), line, repaired)
