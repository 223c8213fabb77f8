"""Values of port types, as plain data: what is one, and how values are widened."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

from teola.compiler.graph.pgraph import Json
from teola.compiler.types import FIELDS, Type, conversion, described

__all__ = ["coerced", "convert_value", "described", "mismatch"]


def convert_value(value: Json, source: Type, target: Type) -> Json:
    """``value`` of type ``source`` as one of type ``target``: what cast, convert and wrap compute.

    Raises:
        ValueError: there is no widening from ``source`` to ``target``.
    """
    if conversion(source, target) is None:
        raise ValueError(f"{source} does not become {target}")
    return coerced(value, target)


def coerced(value: Json, type: Type) -> Json:
    """``value`` widened to ``type``: one item to a list of it, int to float, text to passage.

    Expects a value in which ``mismatch`` finds nothing wrong.
    """
    if type.item is not None:
        items = value if isinstance(value, list) else [value]
        return [coerced(item, type.item) for item in items]
    if type.name == "float" and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if type.name in ("chunk", "passage") and isinstance(value, dict):
        if value.keys() >= {"id", "document"}:
            return value
        return {**_passage(str(value["text"])), **value}
    if type.name == "passage" and isinstance(value, str):
        return _passage(value)
    return value


def _passage(text: str) -> dict[str, Json]:
    """A passage of a text: its id is the text's hash, so that equal texts are one passage."""
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:24]
    return {"id": f"text-{digest}", "text": text, "document": "", "index": 0, "meta": {}}


def mismatch(value: Json, type: Type) -> str | None:
    """Why ``value`` (plain data, as YAML or JSON gives it) is no ``type``; None where it is one.

    Documents are paths, folders or globs (text), or ``{name, text}``; a collection is its name.
    ``T`` stands for ``list<T>`` of one, int for float.
    """
    if type.item is not None:
        if not isinstance(value, list):
            inner = mismatch(value, type.item)
            return None if inner is None else f"expected {type}, got {described(value)}"
        for index, item in enumerate(value):
            if (inner := mismatch(item, type.item)) is not None:
                return f"item {index}: {inner}"
        return None
    return _CHECKS[type.name](value)


Check = Callable[[Json], str | None]


def _expect(name: str, *kinds: type) -> Check:
    def check(value: Json) -> str | None:
        wrong = not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds)
        return f"expected {name}, got {described(value)}" if wrong else None

    return check


def _document(value: Json) -> str | None:
    if isinstance(value, str):
        return None if value.strip() else "expected a path, folder or glob, got empty text"
    return _record("document", ("name", "text"), value, "a path, folder or glob, or {name, text}")


def _record(name: str, needed: tuple[str, ...], value: Json, form: str) -> str | None:
    if not isinstance(value, dict):
        return f"expected {name} ({form}), got {described(value)}"
    for key in value:
        if key not in FIELDS[name]:
            return f"a {name} has no field {key!r}; it has: {', '.join(FIELDS[name])}"
    for key in needed:
        if key not in value:
            return f"the {name} lacks its {key!r}"
    for key, part in value.items():
        if (wrong := mismatch(part, FIELDS[name][key])) is not None:
            return f"{key!r} of the {name}: {wrong}"
    return None


def _embedding(value: Json) -> str | None:
    numbers = isinstance(value, list) and all(
        isinstance(item, (int, float)) and not isinstance(item, bool) for item in value
    )
    return None if numbers else f"expected embedding (a list of numbers), got {described(value)}"


def _json(value: object) -> str | None:
    """JSON: null, bools, numbers, texts, lists of these and maps from texts to these."""
    if value is None or isinstance(value, bool | int | float | str):
        return None
    if isinstance(value, list):
        return next((wrong for item in value if (wrong := _json(item)) is not None), None)
    if isinstance(value, dict) and all(isinstance(key, str) for key in value):
        return next((wrong for item in value.values() if (wrong := _json(item)) is not None), None)
    return f"expected json (plain data), got a {type(value).__name__}"


_CHECKS: dict[str, Check] = {
    "text": _expect("text", str),
    "int": _expect("int", int),
    "float": _expect("float", int, float),
    "bool": _expect("bool", bool),
    "json": _json,
    "document": _document,
    "chunk": lambda value: _record("chunk", ("text",), value, "{id, text, …}"),
    "passage": lambda value: (
        None if isinstance(value, str) else _record("passage", ("text",), value, "{id, text, …}")
    ),
    "message": lambda value: _record("message", ("role", "content"), value, "{role, content}"),
    "embedding": _embedding,
    "collection": _expect("collection (its name)", str),
}
