"""A ``where`` as SQL over the column ``meta``: the same as the one of `metadata`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, TypeAlias

from teola.runtime.engines.postgres.schema import SCHEMA
from teola.runtime.errors import RunError

Sql: TypeAlias = tuple[str, list[Any]]
"""A piece of SQL, with its parameters."""

_ORDER = ("<", "<=", ">", ">=")


def condition(where: Any) -> Sql:
    """The condition on a chunk, never null.

    Raises:
        RunError: it is none.
    """
    word, *operands = where
    if word in ("and", "or"):
        parts = [condition(one) for one in operands]
        text = f" {word.upper()} ".join(part for part, _ in parts)
        return f"({text})", [value for _, values in parts for value in values]
    if word == "not":
        text, values = condition(operands[0])
        return f"(NOT {text})", values
    return _comparison(word, [_operand(one) for one in operands])


def _comparison(word: str, operands: list[Sql]) -> Sql:
    if word == "has":
        text, values = operands[0]
        return f"({text} <> 'null')", values
    if word not in ("==", "!=", "in", *_ORDER):
        raise RunError(f"'where' knows no {word!r}")
    (one, first), (other, second) = operands
    values = [*first, *second]
    if word == "in":
        return f"{SCHEMA}.is_in({one}, {other})", values
    if word in _ORDER:
        return f"coalesce({SCHEMA}.compared({one}, {other}) {word} 0, false)", values
    return f"({one} {'=' if word == '==' else '<>'} {other})", values


def _operand(operand: Mapping[str, Any]) -> Sql:
    if "value" in operand:
        return "%s::jsonb", [json.dumps(operand["value"])]
    return "coalesce(meta #> %s, 'null')", [list(operand["meta"])]
