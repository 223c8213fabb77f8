"""Lines ``key: value`` whose value is a text that YAML does not read as one."""

from __future__ import annotations

import re

from teola.compiler.hints import conditions
from teola.compiler.hints.mistake import Explained, Mistake
from teola.compiler.hints.references import BRACES
from teola.compiler.hints.rewriting import (
    KeyValue,
    as_block,
    indentation,
    key_value,
    quoted,
    safely_quoted,
)
from teola.compiler.hints.templates import CONDITIONS, PROMPTS

_ESCAPE = re.compile(r"\\(?![0abtnvfre \"/\\N_LPxuU])")
_STARTS = {
    "[": "a list",
    "{": "a map",
    "*": "an alias of another value",
    "&": "an anchor for aliases",
    "!": "a tag",
    "|": "a block",
    ">": "a block",
    '"': "a text that ends at the next quote",
    "'": "a text that ends at the next quote",
    "-": "a list",
    "?": "a key",
}
_BLOCK_MARK = re.compile(r"[|>][-+0-9]*\s+")
_QUOTED_WHOLE = re.compile(r"([\"'])((?:(?!\1[\s:,]|\s\1).)+)\1")


def escape(mistake: Mistake) -> Explained | None:
    r"""``"C:\docs"``: a backslash that begins nothing in double quotes."""
    if "escape" not in mistake.problem and "hexdecimal" not in mistake.problem:
        return None
    fixed = mistake.text[: mistake.column] + _ESCAPE.sub(r"\\\\", mistake.text[mistake.column :])
    shown = mistake.text[mistake.column : mistake.column + 2]
    return mistake.explained(
        "bad-escape",
        f"in double quotes a backslash begins an escape, and there is no '{shown}'"
        if fixed != mistake.text
        else "in double quotes a backslash begins an escape, and this one is not complete",
        mistake.line,
        mistake.column,
        mistake.column + 2,
        help="use single quotes, or write each backslash twice",
        repaired_line=fixed,
    )


def unclosed_quote(mistake: Mistake) -> Explained | None:
    """A quote that is open at the end of the file."""
    if "quoted scalar" not in mistake.context or "unexpected" not in mistake.problem:
        return None
    line = mistake.context_line or 0
    return mistake.explained(
        "unclosed-quote",
        "this quote is never closed",
        line,
        mistake.context_column,
        mistake.context_column + 1,
        help="close it; a text that only contains a quote is written as a block with '|'",
    )


def condition(mistake: Mistake) -> Explained | None:
    """``if: "a" == x.y``: an expression that YAML does not read, with its Jinja spelling."""
    entry = _entry(mistake)
    if entry is None or entry.key not in CONDITIONS:
        return None
    meant = conditions.in_jinja(entry.value)
    plain = conditions.is_plain(meant)
    return mistake.explained(
        "jinja-expression",
        f"YAML does not read '{entry.key}' as one text",
        mistake.line,
        entry.column,
        len(mistake.text.rstrip()),
        help=f"{entry.key}: {meant}" if plain else as_block(entry.key, [meant]),
        repaired_line=f"{entry.lead}{entry.key}: {safely_quoted(meant)}",
    )


def prompt(mistake: Mistake) -> Explained | None:
    """``prompt: Question: {{ q }}``: the line written again as a block."""
    number = mistake.line
    entry = _entry(mistake)
    if entry is None:
        number, entry = _line_above(mistake)
    if entry is None or entry.key not in PROMPTS:
        return None
    lines, until = _continued(mistake, number, entry)
    if len(lines) == 1 and (match := _QUOTED_WHOLE.fullmatch(lines[0])):
        lines = [match[2]]
    return mistake.explained(
        "quote-the-prompt",
        _why(entry.value, mistake),
        number,
        entry.column,
        len(mistake.lines[number].rstrip()),
        help=f"write it as a block:\n{as_block(entry.key, lines)}",
        repaired_line=f"{entry.lead}{entry.key}: {safely_quoted(chr(10).join(lines))}",
        until=until,
    )


def dash(mistake: Mistake) -> Explained | None:
    """``needs: - a``: a list item on the line of its key."""
    entry = _entry(mistake)
    if entry is None or not entry.value.startswith("- ") or "block sequence" not in mistake.problem:
        return None
    items = entry.value[2:].split(" - ")
    return mistake.explained(
        "dash-on-key-line",
        "a list that is written with '-' begins on the next line",
        mistake.line,
        entry.column,
        len(mistake.text.rstrip()),
        help=f"{entry.key}: [{', '.join(items)}]",
        repaired_line=f"{entry.lead}{entry.key}: [{', '.join(items)}]",
    )


def text(mistake: Mistake) -> Explained | None:
    """Any other value that YAML does not read as the text it is."""
    entry = _entry(mistake)
    if entry is None or mistake.column < entry.column:
        return None
    if entry.value[0] in "[{" and not entry.value.startswith(("{%", "{{")):
        return None
    if match := BRACES.match(entry.value):
        return _after_braces(mistake, entry, match)
    lines, until = _continued(mistake, mistake.line, entry)
    whole = " ".join(line.strip() for line in lines)
    if match := _QUOTED_WHOLE.fullmatch(whole):
        whole = match[2]
    return mistake.explained(
        "quote-the-text",
        _why(entry.value, mistake),
        mistake.line,
        entry.column,
        len(mistake.text.rstrip()),
        help=f"{entry.key}: {quoted(whole)}",
        repaired_line=f"{entry.lead}{entry.key}: {safely_quoted(whole)}",
        until=until,
    )


def _after_braces(mistake: Mistake, entry: KeyValue, match: re.Match[str]) -> Explained:
    """``query: {{ a.b }} and more``: neither a reference nor a text."""
    reference = match["reference"] or match["dollar"]
    return mistake.explained(
        "reference-is-plain",
        "a reference stands alone and is written without braces",
        mistake.line,
        entry.column,
        len(mistake.text.rstrip()),
        help=f"{entry.key}: {reference}",
        repaired_line=f"{entry.lead}{entry.key}: {reference}",
    )


def _entry(mistake: Mistake) -> KeyValue | None:
    """Take the line apart if reading stopped in its value."""
    entry = key_value(mistake.text)
    return entry if entry is not None and mistake.column >= entry.column else None


def _line_above(mistake: Mistake) -> tuple[int, KeyValue | None]:
    """Return the line that this one goes on: the nearest one that is less indented."""
    depth = indentation(mistake.text)
    for number in range(mistake.line - 1, -1, -1):
        line = mistake.lines[number]
        if line.strip() and indentation(line) < depth:
            return number, key_value(line)
    return mistake.line, None


def _continued(mistake: Mistake, start: int, entry: KeyValue) -> tuple[list[str], int]:
    """Return the lines of the value: the rest of the first and all that are deeper below."""
    lines = [_BLOCK_MARK.sub("", entry.value, count=1)]
    number = start + 1
    while number < len(mistake.lines):
        line = mistake.lines[number]
        if line.strip() and indentation(line) <= len(entry.lead):
            break
        lines.append(line.strip())
        number += 1
    while lines and not lines[-1]:
        lines.pop()
    return lines, number


def _why(value: str, mistake: Mistake) -> str:
    """Say what YAML took the value for."""
    if "mapping values" in mistake.problem:
        return "YAML reads ': ' inside of this text as another key"
    if value[0] in _STARTS:
        return f"YAML reads '{value[0]}' as the beginning of {_STARTS[value[0]]}"
    if value[0] in "@`%":
        return f"no text starts with '{value[0]}' in YAML"
    return "YAML does not read this as one text"
