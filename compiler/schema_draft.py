"""pydantic's JSON Schemas (2020-12) as draft-07, the newest that common editors read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

DRAFT = "http://json-schema.org/draft-07/schema#"

_NULL = {"type": "null"}


def as_draft_07(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Return the schema as draft-07, without what only repeats: generated titles, empty defaults.

    Draft-07 ignores everything beside ``$ref``, so references with a description are wrapped.
    """
    body = {key: value for key, value in schema.items() if key not in ("$schema", "title")}
    definitions = {**body.pop("$defs", {}), **body.pop("definitions", {})}
    found = {"$schema": DRAFT, "title": schema.get("title", ""), **_converted(body)}
    definitions = {name: _converted(each) for name, each in sorted(definitions.items())}
    return {**found, "definitions": _used(found, definitions)}


def _converted(node: Any) -> Any:
    if isinstance(node, list):
        return [_converted(item) for item in node]
    if not isinstance(node, Mapping):
        return node
    found: dict[str, Any] = {}
    for key, value in node.items():
        if key == "properties":
            found[key] = {name: _converted(each) for name, each in value.items()}
        elif key == "$ref":
            found[key] = str(value).replace("#/$defs/", "#/definitions/")
        elif key in ("const", "enum", "examples"):
            found[key] = value
        elif key == "prefixItems":
            found["items"] = [_converted(item) for item in value]
        elif not (key == "title" or (key == "default" and _is_empty(value))):
            found[key] = _converted(value)
    return _with_reference_wrapped(_without_null(found))


def _is_empty(value: object) -> bool:
    return value is None or value == "" or isinstance(value, (dict, list))


def _without_null(node: dict[str, Any]) -> dict[str, Any]:
    """Drop null from a choice: in a file a key that says nothing is left out."""
    options = node.get("anyOf")
    if not isinstance(options, list) or _NULL not in options:
        return node
    rest = [option for option in options if option != _NULL]
    others = {key: value for key, value in node.items() if key != "anyOf"}
    return {**rest[0], **others} if len(rest) == 1 else {**others, "anyOf": rest}


def _with_reference_wrapped(node: dict[str, Any]) -> dict[str, Any]:
    if "$ref" not in node or len(node) == 1:
        return node
    others = {key: value for key, value in node.items() if key != "$ref"}
    return {"allOf": [{"$ref": node["$ref"]}, *others.pop("allOf", [])], **others}


def _used(root: object, definitions: Mapping[str, Any]) -> dict[str, Any]:
    """Keep the definitions that something refers to."""
    seen: set[str] = set()
    pending = [root]
    while pending:
        for name in _references(pending.pop()):
            if name not in seen:
                seen.add(name)
                pending.append(definitions[name])
    return {name: each for name, each in definitions.items() if name in seen}


def _references(node: object) -> list[str]:
    if isinstance(node, list):
        return [name for item in node for name in _references(item)]
    if not isinstance(node, Mapping):
        return []
    own = [str(node["$ref"]).rpartition("/")[2]] if isinstance(node.get("$ref"), str) else []
    return own + [name for value in node.values() for name in _references(value)]
