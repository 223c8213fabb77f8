"""One of some texts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from teola.runtime.engines.protocol import Grammar
from teola.runtime.shapes.base import MalformedError
from teola.runtime.shapes.probabilities import Probabilities

AROUND = " \t\r\n\"'`*_([{#-•>:"
"""What models put before a word that they choose."""
YES_OR_NO: Mapping[str, Any] = {"yes": True, "no": False, "true": True, "false": False}


class ChoiceShape:
    """The choice that an answer begins with, upper and lower case and marks before it aside; a word
    must end where it ends. Decoding stops when it is certain."""

    wanted: int | None = None
    found = 0

    def __init__(self, choices: Sequence[str]) -> None:
        self.port = "choice"
        self._values: Mapping[str, Any] = {choice.casefold(): choice for choice in choices}
        self._spellings = tuple(choices)
        self.probabilities = Probabilities(choices, self._leads)
        self._text = ""
        self.full = False
        self.value: Any = None

    @classmethod
    def yes_or_no(cls) -> ChoiceShape:
        """True or false, in either pair of words."""
        words = tuple(YES_OR_NO)
        shape = cls((*words, *(word.capitalize() for word in words)))
        shape.port, shape._values = "bool", YES_OR_NO
        shape.probabilities = Probabilities((name_of(True), name_of(False)), shape._leads)
        return shape

    @property
    def grammar(self) -> Grammar:
        """The choices as they are written."""
        return Grammar(choices=self._spellings)

    def push(self, text: str) -> tuple[str, list[Any]]:
        """Take more text; once it is decided, no more."""
        for place, character in enumerate(text):
            self._text += character
            if self._decide(ended=False):
                return text[:place], []
        return text, []

    def finish(self, truncated: bool) -> list[Any]:
        """What is still open, the end decides."""
        if not self.full and not self._decide(ended=True):
            raise MalformedError(f"it must begin with one of: {', '.join(self._values)}")
        return []

    def _leads(self, text: str, ended: bool) -> frozenset[str]:
        """The names of what an answer may be that begins so, or has ended."""
        for reading in _readings(text.lstrip().casefold()):
            begun = [one for one in self._values if reading.startswith(one)]
            begun = [max((one for one in begun if _ends(reading, len(one))), key=len, default="")]
            open_ = [one for one in self._values if not ended and one.startswith(reading)]
            if found := frozenset(name_of(self._values[one]) for one in (*begun, *open_) if one):
                return found
        return frozenset()

    def _decide(self, *, ended: bool) -> bool:
        for text in _readings(self._text.lstrip().casefold()):
            if not ended and any(one.startswith(text) for one in self._values):
                return False
            begun = [one for one in self._values if text.startswith(one) and _ends(text, len(one))]
            if begun:
                self.full, self.value = True, self._values[max(begun, key=len)]
                return True
        return False


def name_of(value: object) -> str:
    """What a value is called in JSON."""
    return value if isinstance(value, str) else str(value).lower()


def _readings(text: str) -> Iterator[str]:
    """A text, and what is left of it without one mark after another before it."""
    yield text
    while text[:1] and text[0] in AROUND:
        text = text[1:]
        yield text


def _ends(text: str, place: int) -> bool:
    """Whether a word ends at a place."""
    return not (_of_word(text[place : place + 1]) and _of_word(text[place - 1]))


def _of_word(character: str) -> bool:
    return character.isalnum() or character == "_"
