"""Lines of YAML taken apart and written again."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass

_KEY_VALUE = re.compile(r"(\s*(?:- +)*)([\w$-]+)\s*:\s+(\S.*?)\s*")
_WORD = re.compile(r"[A-Za-z_][\w.-]*")


@dataclass(frozen=True)
class KeyValue:
    """One line ``key: value`` of a block map; ``lead`` is the indentation with any ``- ``."""

    lead: str
    key: str
    value: str
    column: int
    """Where the value starts, from 0."""


def key_value(line: str) -> KeyValue | None:
    """Take a line apart, or return None where it is no ``key: value``."""
    match = _KEY_VALUE.fullmatch(line)
    if match is None:
        return None
    return KeyValue(match[1], match[2], match[3], match.start(3))


def indentation(line: str) -> int:
    """Count the blanks a line starts with."""
    return len(line) - len(line.lstrip())


def as_block(key: str, lines: Sequence[str]) -> str:
    """Write a text as a block scalar."""
    return "\n".join([f"{key}: |", *(f"  {line.strip()}" for line in lines)])


def quoted(text: str) -> str:
    """Write a text as one readable quoted scalar."""
    if '"' in text or "\\" in text:
        return "'" + text.replace("'", "''") + "'"
    return f'"{text}"'


def as_word(text: str) -> str:
    """Write a text without quotes where YAML reads it as itself."""
    return text if _WORD.fullmatch(text) else quoted(text)


def safely_quoted(text: str) -> str:
    """Write any text as a scalar that YAML reads as exactly that text, on one line."""
    return json.dumps(text, ensure_ascii=True)


def replace_line(lines: Sequence[str], number: int, new: str, *, until: int | None = None) -> str:
    """Return the text with line ``number`` (from 0) changed and those before ``until`` emptied."""
    changed = list(lines)
    changed[number] = new
    for other in range(number + 1, until or 0):
        changed[other] = ""
    return "\n".join(changed)
