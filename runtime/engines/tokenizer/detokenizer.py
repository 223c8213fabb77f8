"""Tokens to text as they come, exactly: the pieces joined are the decoded whole."""

from __future__ import annotations

import codecs
from collections.abc import Callable, Sequence
from functools import cache

REPLACEMENT = "\ufffd"


class ByteDetokenizer:
    """For tokens that are bytes: a character is given once its last byte is there."""

    def __init__(self, bytes_of: Callable[[int], bytes]) -> None:
        self._bytes_of = bytes_of
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")

    def push(self, tokens: Sequence[int]) -> str:
        """The text that ``tokens`` complete."""
        return self._decoder.decode(b"".join(map(self._bytes_of, tokens)))

    def finish(self) -> str:
        """The replacement of an incomplete character, or nothing."""
        return self._decoder.decode(b"", final=True)


class WindowDetokenizer:
    """For any other vocabulary: decodes a short window again and gives what is new in it.

    The window is the tokens of the last piece (they decide whether a space is due) and those
    since; text that ends in an incomplete character is held back.
    """

    def __init__(self, decode: Callable[[Sequence[int]], str]) -> None:
        self._decode = decode
        self._before: list[int] = []
        self._held: list[int] = []

    def push(self, tokens: Sequence[int]) -> str:
        """The text that ``tokens`` complete."""
        self._held.extend(tokens)
        text = self._new_text()
        if not text or text.endswith(REPLACEMENT):
            return ""
        self._before, self._held = self._held, []
        return text

    def finish(self) -> str:
        """The text held back."""
        text = self._new_text()
        self._before, self._held = self._held, []
        return text

    def _new_text(self) -> str:
        known = self._decode(self._before)
        return self._decode([*self._before, *self._held])[len(known) :]


@cache
def byte_of_character() -> dict[str, int]:
    """The byte each character of a byte-level vocabulary stands for (GPT-2's table)."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(0x100) if byte not in printable]
    table = {chr(byte): byte for byte in printable}
    table.update({chr(0x100 + index): byte for index, byte in enumerate(others)})
    return table
