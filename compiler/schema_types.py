"""JSON Schemas of constants, by port type."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from teola.compiler.types import Type

_SCALARS: Mapping[str, Mapping[str, Any]] = {
    "text": {"type": "string"},
    "int": {"type": "integer"},
    "float": {"type": "number"},
    "bool": {"type": "boolean"},
    "json": {},
    "document": {"type": ["string", "object"]},
    "chunk": {"type": "object"},
    "passage": {"type": ["string", "object"]},
    "message": {"type": "object"},
    "embedding": {"type": "array", "items": {"type": "number"}},
    "collection": {"type": "string"},
}


def constant_schema(types: Sequence[Type]) -> dict[str, Any]:
    """Return the schema of a constant that fits one of ``types``; one item stands for a list."""
    options: list[dict[str, Any]] = []
    for type_ in types:
        options += [option for option in _options(type_) if option not in options]
    return dict(options[0]) if len(options) == 1 else {"anyOf": options}


def _options(type_: Type) -> list[dict[str, Any]]:
    if type_.item is None:
        return [dict(_SCALARS[type_.name])]
    return [{"type": "array", "items": constant_schema([type_.item])}, *_options(type_.item)]
