"""A tokenizer without a model, for simulated engines: four characters a token, as in estimates."""

from __future__ import annotations

from array import array
from collections.abc import Sequence

from teola.runtime.engines.tokenizer.protocol import Detokenizer, Message

CHARACTERS = 4
BEFORE, AFTER = 12, 4
"""Tokens of the chat template before and after the messages."""
FRAME = 1 << 32
"""A token of the chat template."""


class FourCharacters:
    """A token is the four ASCII characters that stand in its 32 bits; others become ``?``."""

    @property
    def eos(self) -> int | None:
        """None: answers end when the engine says so."""
        return None

    def encode_chat(self, messages: Sequence[Message]) -> list[int]:
        """See `Tokenizer.encode_chat`."""
        tokens = [FRAME] * BEFORE
        for message in messages:
            tokens += self.encode(message["content"])
        return [*tokens, *[FRAME] * AFTER]

    def encode(self, text: str, *, special: bool = False) -> list[int]:
        """See `Tokenizer.encode`; there are no special tokens around a text."""
        data = text.encode("ascii", errors="replace")
        return array("I", data + b" " * (-len(data) % CHARACTERS)).tolist()

    def decode(self, tokens: Sequence[int]) -> str:
        """See `Tokenizer.decode`."""
        return array("I", tokens).tobytes().decode("ascii")

    def count(self, text: str) -> int:
        """See `Tokenizer.count`."""
        return -(-len(text) // CHARACTERS)

    def offsets(self, text: str) -> list[tuple[int, int]]:
        """See `Tokenizer.offsets`."""
        starts = range(0, len(text), CHARACTERS)
        return [(start, min(start + CHARACTERS, len(text))) for start in starts]

    def detokenizer(self) -> Detokenizer:
        """See `Tokenizer.detokenizer`."""
        return _Detokenizer()


class _Detokenizer:
    """Every token is whole characters: nothing is held back."""

    def push(self, tokens: Sequence[int]) -> str:
        """The text of ``tokens``."""
        return array("I", tokens).tobytes().decode("ascii")

    def finish(self) -> str:
        """Nothing."""
        return ""
