"""The form of a JSON Schema that OpenAI's servers hold a model to: their ``strict`` mode.

Of what their guide to structured outputs allows ("Supported schemas"): every object names all that
it has, and all of that is required; no schema but one of these keywords.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, TypeAlias

Schema: TypeAlias = dict[str, Any]

MEANINGLESS = frozenset(
    {"$comment", "$schema", "default", "deprecated", "examples", "readOnly", "writeOnly"}
)
"""Keywords that allow and forbid nothing; some are refused."""
TOLD = frozenset({"description", "title"})
ANYWHERE = TOLD | {"type", "enum", "const"}
NUMBERS = frozenset({"multipleOf", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"})
OF_TYPE: Mapping[str, frozenset[str]] = {
    "object": frozenset({"properties", "required", "additionalProperties"}),
    "array": frozenset({"items", "minItems", "maxItems"}),
    "string": frozenset({"pattern", "format"}),
    "number": NUMBERS,
    "integer": NUMBERS,
}
FORMATS = frozenset(
    {"date", "date-time", "duration", "email", "hostname", "ipv4", "ipv6", "time", "uuid"}
)
DEFINED = ("#/$defs/", "#/definitions/")
MOST_PROPERTIES, MOST_LEVELS, MOST_CHOICES, MOST_CHARACTERS = 5000, 10, 1000, 120_000


class _UnfitError(Exception):
    """A schema has no strict form of the same meaning."""


def strict_form(schema: Mapping[str, Any]) -> Schema | None:
    """The schema as they want it; None where that would mean something else, or is too large.

    An object that says nothing of further properties gets none: its answers fit it all the same.
    """
    try:
        form = _of(schema)
    except _UnfitError:
        return None
    return form if form.get("type") == "object" and _is_small(form) else None


def _of(schema: Any) -> Schema:
    if not isinstance(schema, Mapping):
        raise _UnfitError
    said = {name: value for name, value in schema.items() if name not in MEANINGLESS}
    if said.get("format", "date") not in FORMATS:
        del said["format"]  # of others no validator knows
    defined = {
        name: {key: _of(one) for key, one in said.pop(name).items()}
        for name in ("$defs", "definitions")
        if name in said
    }
    return {**_plain(said), **defined}


def _plain(said: Schema) -> Schema:
    """One without definitions."""
    bare = said.keys() - TOLD
    if bare == {"$ref"} and (said["$ref"] == "#" or said["$ref"].startswith(DEFINED)):
        return {"$ref": said["$ref"]}
    if bare == {"anyOf"}:
        return {**said, "anyOf": [_of(one) for one in said["anyOf"]]}
    types = _types(said)
    known = ANYWHERE.union(*(OF_TYPE.get(one, ()) for one in types))
    if not types or not said.keys() <= known:
        raise _UnfitError
    named = {"type": types[0] if len(types) == 1 else types}
    return {**said, **named, **_object(said, types), **_array(said, types)}


def _types(said: Schema) -> list[str]:
    """Where the schema does not say, those of the values that it names."""
    if "type" in said:
        return [said["type"]] if isinstance(said["type"], str) else list(said["type"])
    values = said.get("enum", [said["const"]] if "const" in said else [])
    return list(dict.fromkeys(NAMES[type(value)] for value in values))


NAMES: Mapping[type, str] = {
    bool: "boolean",
    dict: "object",
    float: "number",
    int: "integer",
    list: "array",
    str: "string",
    type(None): "null",
}


def _object(said: Schema, types: list[str]) -> Schema:
    if "object" not in types:
        return {}
    parts = said.get("properties")
    closed = said.get("additionalProperties", False) is False
    if parts is None or not closed or set(said.get("required", ())) != set(parts):
        raise _UnfitError
    return {
        "properties": {name: _of(part) for name, part in parts.items()},
        "required": list(parts),
        "additionalProperties": False,
    }


def _array(said: Schema, types: list[str]) -> Schema:
    return {"items": _of(said.get("items"))} if "array" in types else {}


def _is_small(form: Schema) -> bool:
    """Whether it is within the limits that are told."""
    parts = list(_parts(form, 0))
    names = [name for one, _ in parts for name in one.get("properties", ())]
    values = [value for one, _ in parts for value in one.get("enum", ())]
    said = [*names, *values, *(one["const"] for one, _ in parts if "const" in one)]
    said += [
        name for one, _ in parts for name in (*one.get("$defs", ()), *one.get("definitions", ()))
    ]
    return (
        len(names) <= MOST_PROPERTIES
        and max(level for _, level in parts) <= MOST_LEVELS
        and len(values) <= MOST_CHOICES
        and sum(len(str(one)) for one in said) <= MOST_CHARACTERS
    )


def _parts(form: Schema, level: int) -> Iterator[tuple[Schema, int]]:
    """Each schema in a form, and in how many objects it lies."""
    level += "properties" in form
    yield form, level
    inner = [*form.get("anyOf", ()), *([form["items"]] if "items" in form else ())]
    for name in ("properties", "$defs", "definitions"):
        inner += form.get(name, {}).values()
    for one in inner:
        yield from _parts(one, level)
