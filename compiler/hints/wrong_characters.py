"""Tabs, typographic quotes and invisible blanks where YAML stops."""

from __future__ import annotations

from teola.compiler.diagnostics import Diagnostic
from teola.compiler.hints import characters
from teola.compiler.hints.mistake import Explained, Mistake
from teola.compiler.hints.rewriting import replace_line
from teola.compiler.located import Span


def tabs(mistake: Mistake) -> Explained | None:
    """Tabs at the beginning of a line: all of them are replaced at once."""
    number = mistake.line
    lead = mistake.text[: len(mistake.text) - len(mistake.text.lstrip())]
    if "\t" not in lead:
        return None
    column = lead.index("\t")
    changed = ["  " * _tabs(line) + line[_tabs(line) :] for line in mistake.lines]
    if changed[number] == mistake.text:
        changed[number] = mistake.text.replace("\t", "  ")
    others = sum(1 for line in mistake.lines if _tabs(line)) - 1
    note = (f"{others} more {'line starts' if others == 1 else 'lines start'} with a tab",)
    span = Span(mistake.source, number + 1, column + 1, number + 1, column + 2)
    return Explained(
        Diagnostic(
            "wrong-character",
            f"{characters.name_of(chr(9))} in the indentation",
            span,
            note if others > 0 else (),
            "indent with spaces, two for each level",
        ),
        number,
        "\n".join(changed),
    )


def others(mistake: Mistake) -> Explained | None:
    """A character that only looks right, on the line where reading stopped or began to go wrong."""
    for number in dict.fromkeys((mistake.line, mistake.context_line, mistake.previous())):
        if number is None:
            continue
        found = list(characters.find_wrong(mistake.lines[number]))
        if found:
            column, char = found[0]
            span = Span(mistake.source, number + 1, column + 1, number + 1, column + 2)
            corrected = characters.corrected(mistake.lines[number])
            return Explained(
                characters.wrong(char, span),
                number,
                replace_line(mistake.lines, number, corrected),
            )
    return None


def _tabs(line: str) -> int:
    return len(line) - len(line.lstrip("\t"))
