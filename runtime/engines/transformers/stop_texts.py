"""Texts that end an answer, found in it as it comes."""

from __future__ import annotations

from collections.abc import Sequence

from teola.runtime.engines.tokenizer import Detokenizer


class StopTexts:
    """Gives the text of an answer's tokens, up to the first of ``stops``; what may be the beginning
    of one is held back. ``found``: one of them has come, the answer has ended."""

    def __init__(self, stops: Sequence[str], detokenizer: Detokenizer) -> None:
        self._stops = stops
        self._detokenizer = detokenizer
        self._held = ""
        self.found = False

    def push(self, tokens: Sequence[int]) -> str:
        """The text that these tokens let go."""
        return self._look(self._detokenizer.push(tokens))

    def finish(self) -> str:
        """What is left when no token follows."""
        text = self._look(self._detokenizer.finish())
        held, self._held = self._held, ""
        return text + held

    def _look(self, new: str) -> str:
        text = self._held + new
        places = [place for stop in self._stops if (place := text.find(stop)) >= 0]
        self.found = self.found or bool(places)
        keep = 0 if self.found else max(_begun(text, stop) for stop in self._stops)
        end = min(places) if places else len(text) - keep
        self._held = "" if self.found else text[end:]
        return text[:end]


def _begun(text: str, stop: str) -> int:
    """How much of ``stop`` a text ends with."""
    sizes = range(min(len(stop) - 1, len(text)), 0, -1)
    return next((size for size in sizes if text.endswith(stop[:size])), 0)
