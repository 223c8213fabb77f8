"""Mistakes of colons and indentation between lines."""

from __future__ import annotations

import re
from collections.abc import Mapping

from teola.compiler.hints.mistake import Explained, Mistake
from teola.compiler.hints.rewriting import indentation

_NO_SPACE = re.compile(r"(?P<lead>\s*(?:- +)*)(?P<key>[A-Za-z_$][\w-]*):(?P<value>[^\s:/].*)")
_NO_COLON = re.compile(
    r"(?P<lead>\s*(?:- +)*)(?P<key>[A-Za-z_$][\w-]*)(?P<space>\s+|$)(?P<value>[^:]*)"
)
_KEY = re.compile(r"\s*(?:- +)*[\w$-]+\s*:(?:\s|$)")


def no_key(mistake: Mistake) -> Explained | None:
    """``: value``: nothing before the colon."""
    lead = indentation(mistake.text)
    if not mistake.text.startswith(":", lead):
        return None
    message = "a key is missing before ':'"
    return mistake.explained("key-not-text", message, mistake.line, lead, lead + 1)


def colon(mistake: Mistake) -> Explained | None:
    """``uses:chunk`` and ``uses chunk``: a key without its colon and blank."""
    if "':'" not in mistake.problem and "mapping values" not in mistake.problem:
        return None
    for number in dict.fromkeys((mistake.context_line, mistake.previous(), mistake.line)):
        if number is None or _KEY.match(mistake.lines[number]):
            continue
        line = mistake.lines[number]
        if match := _NO_SPACE.fullmatch(line):
            message = "a blank is missing after the colon"
        elif match := _NO_COLON.fullmatch(line):
            message = f"a colon is missing after '{match['key']}'"
        else:
            continue
        meant = f"{match['key']}: {match['value'].strip()}".rstrip()
        return mistake.explained(
            "missing-colon",
            message,
            number,
            match.end("key"),
            match.end("key") + 1,
            help=meant,
            repaired_line=match["lead"] + meant,
        )
    return None


def _levels(mistake: Mistake) -> dict[int, str]:
    """Return the open levels above the line: indentation -> what starts there."""
    levels: dict[int, str] = {}
    limit = 1 << 30
    for number in range(mistake.line - 1, -1, -1):
        line = mistake.lines[number]
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        depth = indentation(line)
        if depth < limit and _KEY.match(line):
            levels[depth] = line.strip().removeprefix("- ").split(":")[0]
            limit = depth
    return levels


def _places(levels: Mapping[int, str]) -> str:
    places = [f"'{key}' at column {depth + 1}" for depth, key in sorted(levels.items())]
    return "open above it: " + ", ".join(places)


def _stops_at_key(mistake: Mistake) -> bool:
    """Say whether reading stopped at the beginning of a line or at its key."""
    return not mistake.text[: mistake.column].strip() or bool(_KEY.match(mistake.text))


def bad_indentation(mistake: Mistake) -> Explained | None:
    """A line that starts between two levels."""
    if not _stops_at_key(mistake) or not mistake.text.strip():
        return None
    depth = indentation(mistake.text)
    levels = _levels(mistake)
    if depth in levels:
        return None
    if "'-' indicator" in mistake.problem and depth == mistake.context_column:
        return mistake.explained(
            "bad-indentation",
            "a list above starts at this column, and this line has no '-'",
            mistake.line,
            depth,
            len(mistake.text.rstrip()),
        )
    return mistake.explained(
        "bad-indentation",
        f"this line starts at column {depth + 1}, where nothing around it starts",
        mistake.line,
        depth,
        len(mistake.text.rstrip()),
        notes=(_places(levels),) if levels else (),
        help="keys of one map start at the same column",
    )
