"""One JSON value."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from teola.runtime.engines.protocol import Grammar
from teola.runtime.shapes.base import MalformedError
from teola.runtime.shapes.json_text import CLOSING, OPENING, Nesting, read

ANY: Mapping[str, Any] = {"type": ["object", "array"]}
SCALAR = '"-0123456789'
"""What texts and numbers begin with."""


class JsonShape:
    """The first object or list of an answer, whatever stands around it; decoding stops where it
    ends. An answer without one may be a text, a number, true, false or null."""

    port = "json"
    wanted: int | None = None
    found = 0

    def __init__(self, schema: Mapping[str, Any] | None) -> None:
        self._schema = schema
        self._text = ""
        self._nesting = Nesting()
        self._begun = self._scalar = False
        self.full = False
        self.value: Any = None

    @property
    def grammar(self) -> Grammar:
        """The schema."""
        return Grammar(json_schema=json.dumps(self._schema or ANY, ensure_ascii=False))

    def push(self, text: str) -> tuple[str, list[Any]]:
        """Take more text, up to the end of the value."""
        for place, character in enumerate(text):
            if self._take(character):
                self.full = True
                self.value = read(self._text, self._schema)
                return text[: place + 1], []
        return text, []

    def _take(self, character: str) -> bool:
        """Whether the value ends with this character."""
        if not self._begun and not self._scalar and character in OPENING:
            self._begun, self._text = True, ""
        elif not self._begun and not self._text.strip() and character in SCALAR:
            self._scalar = True
        self._text += character
        if self._begun:
            self._nesting.take(character)
        return self._begun and character in CLOSING and not self._nesting.depth

    def finish(self, truncated: bool) -> list[Any]:
        """What has no brackets ends with the answer."""
        if not self.full:
            if truncated:
                raise MalformedError("max_tokens cut it off: raise sampling.max_tokens")
            self.value = read(self._text.strip(), self._schema)
        return []
