"""Port types (language.md, rule 6): reading them, walking into records, widening conversions."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Literal, TypeAlias

from teola.compiler.diagnostics import nearest
from teola.compiler.graph.pgraph import Json

Step: TypeAlias = Literal["convert", "cast", "wrap"]
"""One conversion: ``convert`` each item of a list, ``cast`` one value, ``wrap`` it into a list."""


@dataclass(frozen=True)
class Type:
    """A port type: a name, and the item type where it is a list."""

    name: str
    item: Type | None = None

    def __str__(self) -> str:
        return self.text

    @cached_property
    def text(self) -> str:
        """The type as it is written."""
        return self.name if self.item is None else f"list<{self.item}>"


class TypeSyntaxError(ValueError):
    """A type is not written as one; ``help`` says how it would be, where that can be guessed."""

    def __init__(self, message: str, help: str | None = None) -> None:
        super().__init__(message)
        self.help = help


SCALARS = (
    "text",
    "int",
    "float",
    "bool",
    "json",
    "document",
    "chunk",
    "passage",
    "message",
    "embedding",
    "collection",
)
"""Every type name but ``list<T>``."""

_FOREIGN = {
    "str": "text",
    "string": "text",
    "integer": "int",
    "number": "float",
    "double": "float",
    "boolean": "bool",
    "object": "json",
    "dict": "json",
    "any": "json",
    "map": "json",
    "doc": "document",
    "docs": "list<document>",
    "documents": "list<document>",
    "array": "list<text>",
    "list": "list<text>",
    "strings": "list<text>",
    "chunks": "list<chunk>",
    "passages": "list<passage>",
    "messages": "list<message>",
    "file": "document",
    "files": "list<document>",
}

_LIST = re.compile(r"(?P<word>list|array|List)\s*(?P<open>[<\[(])(?P<item>.*)[>\])]$", re.DOTALL)


@lru_cache(maxsize=1024)
def parse_type(text: str) -> Type:
    """Read a type: ``text``, ``list<document>``.

    Raises:
        TypeSyntaxError: there is no such type; ``help`` names the nearest.
    """
    text = text.strip()
    if text in SCALARS:
        return Type(text)
    if match := _LIST.match(text):
        item = parse_type(match["item"])
        if match["open"] == "<" and match["word"] == "list" and text.endswith(">"):
            return Type("list", item)
        raise TypeSyntaxError(
            f"{text!r} is not a type: lists have angle brackets",
            f"write list<{item}>",
        )
    if text.endswith("[]") and text[:-2].strip() in SCALARS:
        raise TypeSyntaxError(
            f"{text!r} is not a type: lists have angle brackets",
            f"write list<{text[:-2].strip()}>",
        )
    known = f"there is no type {text!r}; there are: {', '.join(SCALARS)}, list<T>"
    meant = _FOREIGN.get(text.lower()) or nearest(text, SCALARS)
    raise TypeSyntaxError(known, f"did you mean {meant}?" if meant else None)


TEXT = parse_type("text")
INT = parse_type("int")
FLOAT = parse_type("float")
BOOL = parse_type("bool")
JSON = parse_type("json")
COLLECTION = parse_type("collection")

_CHUNK = {
    "id": TEXT,
    "text": TEXT,
    "document": TEXT,
    "index": INT,
    "context": TEXT,
    "meta": JSON,
}

FIELDS: Mapping[str, Mapping[str, Type]] = {
    "document": {"name": TEXT, "text": TEXT, "meta": JSON},
    "chunk": _CHUNK,
    "passage": {**_CHUNK, "score": FLOAT, "rank": INT, "url": TEXT},
    "message": {"role": TEXT, "content": TEXT},
}
"""Record type -> its fields and their types. At run time records are dicts with these keys."""

_RECORD_KEYS: tuple[tuple[str, frozenset[str], frozenset[str]], ...] = (
    ("text", frozenset({"id", "text", "document"}), frozenset(FIELDS["passage"])),
    ("content", frozenset(FIELDS["message"]), frozenset(FIELDS["message"])),
    ("text", frozenset({"name", "text"}), frozenset({*FIELDS["document"], "id"})),
)


def record_text(value: Mapping[str, object]) -> str | None:
    """What a document, chunk, passage (its text) or message (its content) prints in a prompt; None
    where ``value`` has the keys of none of them."""
    keys = value.keys()
    for shown, needed, allowed in _RECORD_KEYS:
        if needed <= keys <= allowed and isinstance(text := value[shown], str):
            return text
    return None


def field_type(of: Type, name: str) -> Type | None:
    """The type of field ``name``; of ``json`` every field is json. None where there is none."""
    if of.name == "json":
        return JSON
    return FIELDS.get(of.name, {}).get(name)


CASTS = frozenset({("int", "float"), ("text", "passage")})
"""Widenings of one value that change it."""


@lru_cache(maxsize=4096)
def conversion(source: Type, target: Type) -> tuple[Step, ...] | None:
    """The steps that widen ``source`` to ``target``; () where they are the same at run time, None
    where there is no widening. ``list<T>`` never becomes ``T``."""
    if source == target:
        return ()
    if source.item is not None:
        return _list_conversion(source.item, target.item) if target.item is not None else None
    if target.item is not None:
        inner = conversion(source, target.item)
        return None if inner is None else (*inner, "wrap")
    if (source.name, target.name) == ("chunk", "passage"):
        return ()
    if (source.name, target.name) in CASTS:
        return ("cast",)
    return None


def _list_conversion(source: Type, target: Type) -> tuple[Step, ...] | None:
    inner = conversion(source, target)
    return inner if not inner else ("convert",)


def described(value: Json) -> str:
    """A value and its type, short: for messages."""
    if value is None:
        return "nothing (null)"
    if isinstance(value, bool):
        return f"the bool {str(value).lower()}"
    kind = {int: "int", float: "float", str: "text", list: "list", dict: "map"}.get(type(value))
    shown = repr(value)
    return f"the {kind} {shown if len(shown) <= 40 else shown[:37] + '...'}"
