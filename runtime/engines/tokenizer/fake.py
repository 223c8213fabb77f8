"""A tokenizer without a model: UTF-8 bytes. For the fakes, tests and the simulator."""

from __future__ import annotations

from collections.abc import Sequence

from teola.runtime.engines.tokenizer.detokenizer import ByteDetokenizer
from teola.runtime.engines.tokenizer.protocol import Detokenizer, Message

BEGIN, END = 256, 257
"""Around a message, and around a text with special tokens; END ends an answer."""


class ByteTokenizer:
    """Tokens 0 to 255 are the bytes of the text; 256 and 257 are special.

    A message is ``BEGIN role newline content END newline``, as in ChatML.
    """

    @property
    def eos(self) -> int | None:
        """END."""
        return END

    def encode_chat(self, messages: Sequence[Message]) -> list[int]:
        """See `Tokenizer.encode_chat`."""
        tokens: list[int] = []
        for message in messages:
            tokens += (BEGIN, *f"{message['role']}\n".encode())
            tokens += (*self.encode(message["content"]), END, *b"\n")
        tokens += (BEGIN, *b"assistant\n")
        return tokens

    def encode(self, text: str, *, special: bool = False) -> list[int]:
        """See `Tokenizer.encode`."""
        tokens = list(text.encode("utf-8", errors="replace"))
        return [BEGIN, *tokens, END] if special else tokens

    def decode(self, tokens: Sequence[int]) -> str:
        """See `Tokenizer.decode`."""
        return b"".join(map(_bytes_of, tokens)).decode("utf-8", errors="replace")

    def count(self, text: str) -> int:
        """See `Tokenizer.count`."""
        return len(text.encode("utf-8", errors="replace")) + 2

    def offsets(self, text: str) -> list[tuple[int, int]]:
        """See `Tokenizer.offsets`."""
        return [
            (index, index + 1)
            for index, character in enumerate(text)
            for _ in self.encode(character)
        ]

    def detokenizer(self) -> Detokenizer:
        """See `Tokenizer.detokenizer`."""
        return ByteDetokenizer(_bytes_of)


class _Bytes(dict[int, bytes]):
    """What each token stands for; special ones and others for nothing."""

    def __missing__(self, token: int) -> bytes:
        return b""


_bytes_of = _Bytes((token, bytes((token,))) for token in range(BEGIN)).__getitem__
