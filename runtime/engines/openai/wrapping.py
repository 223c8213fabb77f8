"""Answers in an object of their own, for servers that hold a model to objects only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from typing import Any

from teola.runtime.engines.protocol import Chances
from teola.runtime.shapes.json_text import Nesting
from teola.runtime.shapes.references import with_references

NAME = "answer"
DEFINED = "#/$defs/"


def is_of_objects(schema: Mapping[str, Any]) -> bool:
    """Whether OpenAI's own server takes it as it is: an object, and not one of several."""
    return schema.get("type") == "object" and "anyOf" not in schema


def wrapped(schema: Mapping[str, Any]) -> dict[str, Any]:
    """The schema of an object that has what a schema allows, and nothing else."""
    inner = {name: value for name, value in schema.items() if name != "$defs"}
    whole = {
        "type": "object",
        "properties": {NAME: inner},
        "required": [NAME],
        "additionalProperties": False,
        **{name: value for name, value in schema.items() if name == "$defs"},
    }
    moved: dict[str, Any] = with_references(
        whole, lambda ref: ref if ref.startswith(DEFINED) else f"#/properties/{NAME}{ref[1:]}"
    )
    return moved


class Unwrapping:
    """Takes the object away again, from a text that comes bit by bit."""

    def __init__(self) -> None:
        self._nesting = Nesting()
        self._inside = self._begun = False

    def push(self, text: str) -> str:
        """What is of the value in more of the text."""
        return "".join(character for character in text if self._take(character))

    def _take(self, character: str) -> bool:
        self._nesting.take(character)
        if not self._inside:
            self._inside = character == ":"  # behind the name, which has none
            return False
        self._begun = self._begun or not character.isspace()
        return self._begun and self._nesting.depth > 0

    def steps(self, steps: Sequence[Chances]) -> list[Chances]:
        """What could have come of the value, at the steps that brought some of it."""
        kept: list[Chances] = []
        for step in steps:
            before = deepcopy(self)
            could = [(deepcopy(before).push(str(text)), log) for text, log in step]
            if self.push(str(step[0][0])):
                kept.append([one for one in could if one[0]])
        return kept
