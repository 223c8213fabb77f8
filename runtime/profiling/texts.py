"""Texts and prompts of a given number of tokens, never the same one twice."""

from __future__ import annotations

from bisect import bisect_right
from random import Random
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from teola.runtime.engines.tokenizer import Tokenizer

SEED = 20250
WORDS = (
    "time year people way day man thing woman life child world school state family student group "
    "country problem hand part place case week company system program question work government "
    "number night point home water room mother area money story fact month lot right study book "
    "eye job word business issue side kind head house service friend father power hour game line "
    "end member law car city name team minute idea body information back parent face level office "
    "door health person art war history party result change morning reason research girl moment"
).split()
SHORTEST = " a"


class Texts:
    """Random English words; the same sequence of texts for a seed and a tokenizer."""

    def __init__(self, tokenizer: Tokenizer, seed: int = SEED) -> None:
        self._tokenizer = tokenizer
        self._random = Random(seed)  # noqa: S311  # texts to measure with are no secret

    def text(self, tokens: int) -> tuple[str, int]:
        """A text and its tokens, special ones included: the most that is not over ``tokens``."""
        words = self._words(tokens)
        count = self._tokenizer.count
        fitting = bisect_right(range(tokens), tokens, key=lambda n: count(" ".join(words[:n])))
        text = " ".join(words[: max(0, fitting - 1)])
        while count(text + SHORTEST) <= tokens:
            text += SHORTEST
        return text, count(text)

    def prompt(self, tokens: int) -> list[int]:
        """Exactly ``tokens`` tokens of a text, no special ones."""
        return self._tokenizer.encode(" ".join(self._words(tokens)))[:tokens]

    def _words(self, count: int) -> list[str]:
        """Words that are at least ``count`` tokens."""
        return self._random.choices(WORDS, k=count)
