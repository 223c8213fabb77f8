"""JSON in a text that comes bit by bit: where a value ends, and what it is."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from pydantic_core import from_json

from teola.runtime.shapes.base import MalformedError

OPENING, CLOSING = "[{", "]}"


class Nesting:
    """Follows a JSON text: how deep in brackets it is, texts passed over."""

    def __init__(self) -> None:
        self.depth = 0
        self._quoted = self._escaped = False

    def take(self, character: str) -> bool:
        """Take the next character; whether it is punctuation, and no part of a text."""
        if self._quoted:
            if self._escaped:
                self._escaped = False
            elif character == "\\":
                self._escaped = True
            elif character == '"':
                self._quoted = False
            return False
        if character == '"':
            self._quoted = True
        elif character in OPENING:
            self.depth += 1
        elif character in CLOSING:
            self.depth -= 1
        return character in ",[]{}"


def read(text: str, schema: Mapping[str, Any] | None) -> Any:
    """The value of a JSON text that a schema allows.

    Raises:
        MalformedError: says what is wrong, and where in the value.
    """
    try:
        value = from_json(text, allow_inf_nan=False)
    except ValueError as error:
        raise MalformedError(f"this is no JSON ({error})") from error
    if schema is not None:
        _check(value, json.dumps(schema, sort_keys=True))
    return value


def _check(value: Any, schema: str) -> None:
    errors = _validator(schema).iter_errors(value)
    error = next(errors, None)
    if error is not None:
        raise MalformedError(f"the schema does not allow it: {error.json_path}: {error.message}")


@lru_cache(maxsize=256)
def _validator(schema: str) -> Any:
    import jsonschema
    import referencing

    registry: Any = referencing.Registry()  # it fetches nothing
    return jsonschema.Draft202012Validator(json.loads(schema), registry=registry)
