"""What an engine's prefix cache holds, as far as can be told from outside."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from itertools import takewhile
from typing import TypeAlias

Marks: TypeAlias = tuple[int, ...]
"""One number a whole block of a prompt, which stands for all tokens up to the block's end."""


class Prefixes:
    """The blocks of ``block_tokens`` tokens that were computed last, at most ``room`` tokens.

    Two different prefixes could have one mark: marks decide when something is computed, never what.
    """

    def __init__(self, block_tokens: int, room: int) -> None:
        self.block_tokens = block_tokens
        self.most = room // block_tokens
        self.known: OrderedDict[int, None] = OrderedDict()

    def marks(self, tokens: Sequence[int], adapter: str | None = None) -> Marks:
        """The marks of a prompt's whole blocks; each adapter has a KV of its own."""
        marks: list[int] = []
        mark = 0 if adapter is None else hash(adapter)
        for end in range(self.block_tokens, len(tokens) + 1, self.block_tokens):
            mark = hash((mark, *tokens[end - self.block_tokens : end]))
            marks.append(mark)
        return tuple(marks)

    def cached(self, marks: Marks) -> int:
        """How many leading blocks of a prompt are there."""
        return sum(1 for _ in takewhile(self.known.__contains__, marks))

    def add(self, marks: Marks) -> None:
        """The blocks of a prompt have been computed, or used again."""
        for mark in reversed(marks):  # the end of a prompt is forgotten before its beginning
            self.known[mark] = None
            self.known.move_to_end(mark)
        while len(self.known) > self.most:
            self.known.popitem(last=False)

    def clear(self) -> None:
        """Nothing is cached any more."""
        self.known.clear()
