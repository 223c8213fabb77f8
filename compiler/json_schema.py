"""JSON Schemas that a workflow gives: valid, and complete in themselves."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeAlias

from teola.compiler.graph.pgraph import Json

Path: TypeAlias = tuple[str | int, ...]

REFERENCES = ("$ref", "$dynamicRef")
BASES = ("$id", "$schema", "$anchor", "$dynamicAnchor", "$vocabulary")
"""Keywords that say where or what a schema is: one in a workflow has no place of its own."""


def schema_problem(schema: dict[str, Json]) -> tuple[Path, str] | None:
    """What is wrong with a JSON Schema (2020-12), and where in it; None where nothing is."""
    import jsonschema

    try:
        jsonschema.Draft202012Validator.check_schema(schema)
    except jsonschema.SchemaError as error:
        while error.context:  # of several ways to be right, the first
            error = error.context[0]
        return tuple(error.absolute_path), error.message
    for path, name, value in _keywords(schema, ()):
        if name in BASES and value != jsonschema.Draft202012Validator.META_SCHEMA["$id"]:
            return path, f"{name} has no meaning here"
        if name in REFERENCES and not _leads_somewhere(schema, str(value)):
            return path, f"{name} {value!r} leads to no part of it, as in '#/$defs/item'"
    return None


def _keywords(part: Json, path: Path) -> Iterator[tuple[Path, str, Json]]:
    if isinstance(part, list):
        for index, one in enumerate(part):
            yield from _keywords(one, (*path, index))
    if isinstance(part, dict):
        for name, one in part.items():
            if name in (*REFERENCES, *BASES) and isinstance(one, str):
                yield (*path, name), name, one
            if name not in ("const", "enum", "default", "examples"):
                yield from _keywords(one, (*path, name))


def _leads_somewhere(schema: Json, ref: str) -> bool:
    place = schema
    if not ref.startswith("#") or ref[1:2] not in ("", "/"):
        return False
    for part in ref[2:].split("/") if len(ref) > 1 else ():
        name = part.replace("~1", "/").replace("~0", "~")
        if isinstance(place, list) and name.isdecimal() and int(name) < len(place):
            place = place[int(name)]
        elif isinstance(place, dict) and name in place:
            place = place[name]
        else:
            return False
    return isinstance(place, dict | bool)
