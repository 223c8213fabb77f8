"""Plain scalars of YAML 1.2's core schema: what a word without quotes is.

``null`` ``~`` and nothing, ``true`` ``false``, decimal, ``0o`` and ``0x`` integers, and floats, as
in section 10.3.2 of the YAML 1.2.2 specification; everything else is text. So ``no``, ``on``,
``1:30`` and ``2024-01-31`` are texts, and ``010`` is the number 10.
"""

from __future__ import annotations

import math
import re
from typing import TypeAlias

Scalar: TypeAlias = "bool | int | float | str | None"

_WORDS: dict[str, bool | None] = {
    "": None,
    "~": None,
    "null": None,
    "Null": None,
    "NULL": None,
    "true": True,
    "True": True,
    "TRUE": True,
    "false": False,
    "False": False,
    "FALSE": False,
}
_INTEGERS = (
    (re.compile(r"[-+]?[0-9]+"), 0, 10),
    (re.compile(r"0o[0-7]+"), 2, 8),
    (re.compile(r"0x[0-9a-fA-F]+"), 2, 16),
)
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_NOT_FINITE = re.compile(r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)")
_NUMBER_STARTS = frozenset("+-.0123456789")

MAX_DIGITS = 300
"""Longer numbers are refused."""


class BadNumberError(ValueError):
    """The word is a number that neither JSON nor a plan can hold; the message says why."""


def resolve(word: str) -> Scalar:
    """Return the value of a plain scalar.

    Raises:
        BadNumberError: an infinity, a not-a-number, or more than 300 digits.
    """
    if word in _WORDS:
        return _WORDS[word]
    if word[0] not in _NUMBER_STARTS:
        return word
    return _number(word)


def _number(word: str) -> Scalar:
    if _NOT_FINITE.fullmatch(word):
        raise BadNumberError(f"'{word}' is not a finite number")
    for pattern, digits, base in _INTEGERS:
        if pattern.fullmatch(word):
            _refuse_long(word)
            return int(word[digits:], base)
    if not _FLOAT.fullmatch(word):
        return word
    _refuse_long(word)
    value = float(word)
    if not math.isfinite(value):
        raise BadNumberError(f"'{word}' is larger than a number can be")
    return value


def _refuse_long(word: str) -> None:
    if len(word) > MAX_DIGITS:
        raise BadNumberError(f"a number of {len(word)} digits is too long")
