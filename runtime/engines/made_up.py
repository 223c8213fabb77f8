"""Answers that a grammar allows, for engines that make them up."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from math import ceil, log
from random import Random
from typing import Any

from teola.runtime.engines.protocol import Chances, Grammar
from teola.runtime.errors import UnsupportedError

WORDS = ("amber", "cobalt", "elm", "forest", "green", "hazel")
NEST = 6
"""So deep what may be left out is left out."""


def made_up(grammar: Grammar, seed: bytes) -> str:
    """A text that the grammar allows; equal seeds give equal ones.

    Raises:
        UnsupportedError: the schema uses what only a model can obey (a ``pattern``, a ``not``).
    """
    random = Random(seed)  # noqa: S311 - no secret
    if grammar.json_schema is None:
        return random.choice(grammar.choices)
    schema = json.loads(grammar.json_schema)
    return json.dumps(_Values(schema, random).of(schema, 0), ensure_ascii=False)


def likely(grammar: Grammar | None, said: str) -> Sequence[Chances]:
    """How likely each choice was, in one step: twice as likely as any other the one that was
    made."""
    if grammar is None or said not in grammar.choices:
        return ()
    whole = log(len(grammar.choices) + 1)
    others = [(one, -whole) for one in grammar.choices if one != said]
    return [[(said, log(2) - whole), *others]]


def in_parts(grammar: Grammar, seed: bytes, items: int) -> list[str]:
    """A text that the grammar allows, cut after each item where it is a list; of so many items, if
    any number is allowed.

    Raises:
        UnsupportedError: as `made_up` does.
    """
    schema = json.loads(grammar.json_schema or "null")
    if not isinstance(schema, dict) or schema.get("type") != "array":
        return [made_up(grammar, seed)]
    wanted = schema.get("minItems", min(items, schema.get("maxItems", items)))
    whole = {**schema, "minItems": wanted, "maxItems": wanted}
    made = json.loads(made_up(Grammar(json_schema=json.dumps(whole)), seed))
    texts = [json.dumps(one, ensure_ascii=False) for one in made] or [""]
    return [
        ("" if place else "[") + text + ("]" if place == len(texts) - 1 else ",")
        for place, text in enumerate(texts)
    ]


class _Values:
    """Values that parts of one schema allow."""

    def __init__(self, root: Any, random: Random) -> None:
        self.root, self.random = root, random
        self.makers: Mapping[str, Callable[[Mapping[str, Any], int], Any]] = {
            "object": self._object,
            "array": self._array,
            "string": self._string,
            "integer": self._integer,
            "number": self._integer,
            "boolean": lambda _, __: self.random.random() < 0.5,
            "null": lambda _, __: None,
        }

    def of(self, schema: Any, depth: int) -> Any:
        if schema is True or schema == {}:
            return self._string({}, depth)
        if not isinstance(schema, Mapping) or "not" in schema:
            raise UnsupportedError(f"no value can be made up for the schema {schema!r}")
        if "$ref" in schema:
            return self.of(self._target(schema["$ref"]), depth)
        if "const" in schema:
            return schema["const"]
        if "enum" in schema:
            return self.random.choice(schema["enum"])
        for name in ("anyOf", "oneOf"):
            if name in schema:
                part = schema[name][-1 if depth > NEST else 0]
                return self.of({**_less(schema, name), **({} if part is True else part)}, depth)
        if "allOf" in schema:
            whole = _less(schema, "allOf")
            for part in schema["allOf"]:
                whole = {**whole, **part}
            return self.of(whole, depth)
        return self.makers[_type(schema)](schema, depth)

    def _target(self, ref: str) -> Any:
        found = self.root
        for part in ref.removeprefix("#").strip("/").split("/"):
            found = found[part.replace("~1", "/").replace("~0", "~")] if part else found
        return found

    def _object(self, schema: Mapping[str, Any], depth: int) -> Any:
        properties, required = schema.get("properties", {}), schema.get("required", ())
        names = [name for name in properties if depth < NEST or name in required]
        names += [name for name in required if name not in properties]
        return {name: self.of(properties.get(name, True), depth + 1) for name in names}

    def _array(self, schema: Mapping[str, Any], depth: int) -> Any:
        first = schema.get("prefixItems", ())
        least = int(schema.get("minItems", 0))
        most = int(schema.get("maxItems", max(least, 3)))
        wanted = least if depth >= NEST else self.random.randint(least, min(most, least + 3))
        items = [self.of(one, depth + 1) for one in first[:most]]
        rest = schema.get("items", True)
        while len(items) < wanted and rest is not False:
            items.append(self.of(rest, depth + 1))
        return items

    def _string(self, schema: Mapping[str, Any], _depth: int) -> str:
        if "pattern" in schema or "format" in schema:
            raise UnsupportedError(f"no text can be made up for the schema {dict(schema)!r}")
        text = f"{self.random.choice(WORDS)} {self.random.getrandbits(24):06x}"
        least = int(schema.get("minLength", 0))
        return text.ljust(least, "x")[: schema.get("maxLength")]

    def _integer(self, schema: Mapping[str, Any], _depth: int) -> int:
        low = schema.get("minimum", schema.get("exclusiveMinimum", -1) + 1)
        high = schema.get("maximum", schema.get("exclusiveMaximum", low + 101) - 1)
        step = int(schema.get("multipleOf", 1)) or 1
        first = ceil(low / step)
        return self.random.randint(first, max(first, int(high // step))) * step


def _less(schema: Mapping[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in schema.items() if key != name}


def _type(schema: Mapping[str, Any]) -> str:
    given = schema.get("type")
    if given is not None:
        return str(given[0] if isinstance(given, list) else given)
    if "properties" in schema or "required" in schema:
        return "object"
    return "array" if "items" in schema or "prefixItems" in schema else "string"
