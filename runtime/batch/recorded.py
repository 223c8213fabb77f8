"""A line of answers read back."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from teola.runtime.batch.answers import Origin
from teola.runtime.batch.row import HASH_BYTES, row_key


@dataclass(frozen=True, slots=True)
class Recorded:
    """What line ``line`` says of a row: ``code`` is that of its error, if it is one."""

    line: int
    key: str
    hash: str
    origin: Origin
    code: str | None


def read_line(text: bytes, line: int) -> Recorded:
    """Read back what ``Answer.line`` has written.

    Raises:
        ValueError: this is no such line; the message says why.
    """
    found = json.loads(text)
    if (wrong := _mistake(found)) is not None:
        raise ValueError(wrong)
    origin = Origin(found["from"]["workflow"], found["from"]["inputs"])
    key = row_key(found["row"], found.get("id"))
    code = str(found["error"].get("code")) if "error" in found else None
    return Recorded(line, key, found["from"]["row"], origin, code)


def _mistake(found: Any) -> str | None:
    if not isinstance(found, dict) or not isinstance(found.get("row"), int):
        return "it has no 'row'"
    if not isinstance(found.get("id"), str | int | None):
        return "its 'id' is neither text nor a whole number"
    if not isinstance(found["error"] if "error" in found else found.get("outputs"), dict):
        return "it has neither 'outputs' nor an 'error'"
    if not _hashes(found.get("from")):
        return "it does not say what it is 'from'"
    return None


def _hashes(origin: Any) -> bool:
    parts = [origin.get(name) for name in ("workflow", "inputs", "row")] if origin else [None]
    return all(isinstance(part, str) and len(part) == 2 * HASH_BYTES for part in parts)
