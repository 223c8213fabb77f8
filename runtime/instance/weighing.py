"""What an engine tells of the steps of an answer, as texts."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from teola.runtime.engines.protocol import Chances
from teola.runtime.engines.tokenizer.detokenizer import REPLACEMENT
from teola.runtime.shapes.probabilities import Probabilities


class Weighing:
    """Follows an answer by what came at each step: a token, or a text where the engine speaks in
    text."""

    def __init__(
        self, decode: Callable[[Sequence[int]], str], probabilities: Probabilities
    ) -> None:
        self._decode, self._probabilities = decode, probabilities
        self._tokens: list[int] = []
        self._text = ""

    def take(self, steps: Sequence[Chances]) -> None:
        """The next steps."""
        for could in steps:
            texts = [(self._with(one), log) for one, log in could]
            self._probabilities.step(self._text, texts)
            self._text = self._text if texts[0][0] is None else texts[0][0]
            if isinstance(came := could[0][0], int):
                self._tokens.append(came)

    def _with(self, one: int | str) -> str | None:
        """The whole answer with one more; None where that ends it. Half a character is none."""
        if isinstance(one, str):
            return self._text + one if one else None
        text = self._decode([*self._tokens, one])
        return None if text == self._decode(self._tokens) else text.rstrip(REPLACEMENT)
