"""A JSON list whose items leave one by one."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from teola.runtime.engines.protocol import Grammar
from teola.runtime.shapes.base import MalformedError
from teola.runtime.shapes.json_text import Nesting, read
from teola.runtime.shapes.references import with_references


class JsonListShape:
    """The items of the first list of an answer, each when it is complete. Decoding stops where the
    list ends, or once ``wanted`` items are there. An item that the token limit cuts off is
    dropped."""

    port = "json_list"
    value: Any = None

    def __init__(self, schema: Mapping[str, Any] | None, wanted: int | None) -> None:
        self._schema, self.wanted = schema, wanted
        self._nesting = Nesting()
        self._item = ""
        self._ended = False
        self.found = 0

    @property
    def full(self) -> bool:
        """Whether all items are there."""
        return self._ended or (self.wanted is not None and self.found >= self.wanted)

    @property
    def grammar(self) -> Grammar:
        """A list of what the schema allows, of as many as are wanted."""
        item: Any = self._schema or {}
        whole: dict[str, Any] = {"type": "array", "items": item}
        if "$ref" in json.dumps(item):  # its references begin at its own root
            moved = with_references(item, lambda ref: f"#/$defs/item{ref[1:]}")
            whole |= {"items": {"$ref": "#/$defs/item"}, "$defs": {"item": moved}}
        if self.wanted is not None:
            whole |= {"minItems": self.wanted, "maxItems": self.wanted}
        return Grammar(json_schema=json.dumps(whole, ensure_ascii=False))

    def push(self, text: str) -> tuple[str, list[Any]]:
        """Take more text, up to the end of the last item."""
        items: list[Any] = []
        for place, character in enumerate(text):
            if not self.full:
                self._take(character, items)
            if self.full:
                return text[: place + 1], items
        return text, items

    def _take(self, character: str, items: list[Any]) -> None:
        inside = self._nesting.depth
        if not inside and character != "[":
            return
        punctuation = self._nesting.take(character)
        if not inside:
            return
        if punctuation and not self._nesting.depth:
            self._close(character, items)
        elif punctuation and character == "," and inside == 1:
            items.append(self._read())
        else:
            self._item += character

    def _close(self, character: str, items: list[Any]) -> None:
        if character != "]":
            raise MalformedError(f"the list ends with {character!r}")
        if self.found or self._item.strip():
            items.append(self._read())
        self._ended = True

    def _read(self) -> Any:
        text, self._item = self._item.strip(), ""
        try:
            value = read(text, self._schema)
        except MalformedError as error:
            raise MalformedError(f"its item {self.found + 1}, {text!r}: {error}") from error
        self.found += 1
        return value

    def finish(self, truncated: bool) -> list[Any]:
        """A list that breaks off by itself is none."""
        if not self.full and not truncated:
            what = "the list does not end" if self._nesting.depth else "there is no list"
            raise MalformedError(what)
        return []
