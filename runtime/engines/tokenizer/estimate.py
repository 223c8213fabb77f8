"""A tokenizer without a model, for engines whose own is not known: four bytes a token."""

from __future__ import annotations

import codecs
from array import array
from collections.abc import Sequence

from teola.runtime.engines.tokenizer.protocol import Detokenizer, Message

CHARACTERS = 4
"""Characters of a token, where each is a byte."""
BEFORE, AFTER = 12, 4
"""Tokens of the chat template before and after the messages."""
FRAME = 1 << 32
"""A token of the chat template."""


class FourBytes:
    """A token is four bytes of a text's UTF-8, which stand in its 32 bits: about as many tokens as
    a model's, whatever the language. The last one of a text is filled up with blanks."""

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
        data = _bytes(text)
        return array("I", data + b" " * (-len(data) % CHARACTERS)).tolist()

    def decode(self, tokens: Sequence[int]) -> str:
        """See `Tokenizer.decode`."""
        return array("I", tokens).tobytes().decode(errors="replace")

    def count(self, text: str) -> int:
        """See `Tokenizer.count`."""
        return -(-len(_bytes(text)) // CHARACTERS)

    def offsets(self, text: str) -> list[tuple[int, int]]:
        """See `Tokenizer.offsets`; a character that two tokens share belongs to both."""
        of_byte: Sequence[int] = range(len(text))
        if not text.isascii():
            of_byte = [place for place, one in enumerate(text) for _ in _bytes(one)]
        firsts, lasts = of_byte[::CHARACTERS], of_byte[CHARACTERS - 1 :: CHARACTERS]
        ends = [*lasts, *of_byte[-1:]]  # one more than there are tokens where the last one is whole
        return [(first, last + 1) for first, last in zip(firsts, ends, strict=False)]

    def detokenizer(self) -> Detokenizer:
        """See `Tokenizer.detokenizer`."""
        return _Detokenizer()


class _Detokenizer:
    """A character is given once its last byte is there."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")

    def push(self, tokens: Sequence[int]) -> str:
        """The text of ``tokens``."""
        return self._decoder.decode(array("I", tokens).tobytes())

    def finish(self) -> str:
        """The replacement of an incomplete character, or nothing."""
        return self._decoder.decode(b"", final=True)


def _bytes(text: str) -> bytes:
    return text.encode(errors="replace")
