"""The metadata of a collection's chunks, and which of them a ``where`` holds for.

``teola.compiler.where`` says what a ``where`` is.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np

from teola.runtime.engines.collections.nearest import Places
from teola.runtime.errors import RunError

MAX_KEPT = 64
"""Answers that are kept for the next search."""


class Metadata:
    """What ``chunks`` say of themselves: few different things, for those of one document are
    alike."""

    def __init__(self, chunks: Sequence[Mapping[str, Any]]) -> None:
        self._chunks = chunks
        self._kept: dict[str, Places] = {}

    @cached_property
    def _different(self) -> tuple[list[Mapping[str, Any]], Places]:
        """Different metadata, and which of it is each chunk's."""
        found: dict[str, int] = {}
        metas: list[Mapping[str, Any]] = []
        numbers = []
        for chunk in self._chunks:
            meta = chunk.get("meta") or {}
            key = json.dumps(meta, sort_keys=True)
            if key not in found:
                found[key] = len(metas)
                metas.append(meta)
            numbers.append(found[key])
        return metas, np.array(numbers, np.int64)

    def places(self, where: Any) -> Places:
        """The positions, in order, of the chunks for which ``where`` holds.

        Raises:
            RunError: it is none.
        """
        key = json.dumps(where, sort_keys=True)
        if key not in self._kept:
            metas, numbers = self._different
            holding = np.array([holds(where, meta) for meta in metas], bool)
            while len(self._kept) >= MAX_KEPT:
                del self._kept[next(iter(self._kept))]
            self._kept[key] = np.flatnonzero(holding[numbers]) if len(numbers) else numbers
        return self._kept[key]


def holds(where: Any, meta: Mapping[str, Any]) -> bool:
    """Whether ``where`` is true of ``meta``.

    Raises:
        RunError: it is none.
    """
    word, *operands = where
    if word == "and":
        return all(holds(one, meta) for one in operands)
    if word == "or":
        return any(holds(one, meta) for one in operands)
    if word == "not":
        return not holds(operands[0], meta)
    values = [_value(one, meta) for one in operands]
    if word == "has":
        return values[0] is not None
    if word in _COMPARISONS:
        return _COMPARISONS[word](*values)
    raise RunError(f"'where' knows no {word!r}")


def _value(operand: Mapping[str, Any], meta: Mapping[str, Any]) -> Any:
    if "value" in operand:
        return operand["value"]
    value: Any = meta
    for key in operand["meta"]:
        value = value.get(key) if isinstance(value, Mapping) else None
    return value


def _equal(one: Any, other: Any) -> bool:
    """As JSON values: 1 is 1.0, but not true."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        return len(one) == len(other) and all(map(_equal, one, other))
    return bool(one == other)


def _ordered(one: Any, other: Any) -> bool:
    """Whether one comes before or after the other at all."""
    texts = isinstance(one, str) and isinstance(other, str)
    return texts or (_is_number(one) and _is_number(other))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_in(one: Any, other: Any) -> bool:
    return isinstance(other, list | tuple) and any(_equal(one, item) for item in other)


_COMPARISONS = {
    "==": _equal,
    "!=": lambda one, other: not _equal(one, other),
    "<": lambda one, other: _ordered(one, other) and bool(one < other),
    "<=": lambda one, other: _ordered(one, other) and bool(one <= other),
    ">": lambda one, other: _ordered(one, other) and bool(one > other),
    ">=": lambda one, other: _ordered(one, other) and bool(one >= other),
    "in": _is_in,
}
