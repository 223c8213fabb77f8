"""What Teola asks of a tokenizer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

Message = Mapping[str, str]
"""``{"role": …, "content": …}``."""


class Detokenizer(Protocol):
    """Tokens of one answer to text, as they come."""

    def push(self, tokens: Sequence[int]) -> str:
        """The text that ``tokens`` complete; an incomplete character is held back."""
        ...

    def finish(self) -> str:
        """What was held back; after it, all pieces joined are ``decode`` of all tokens."""
        ...


class Tokenizer(Protocol):
    """Text to tokens and back. Text is data: nothing in it is recognised as a special token."""

    @property
    def eos(self) -> int | None:
        """The token that ends an answer."""
        ...

    def encode_chat(self, messages: Sequence[Message]) -> list[int]:
        """The prompt of a conversation, ready for the answer.

        Special tokens come only from the chat template: a content cannot forge a role.

        Raises:
            TemplateError: the model has no chat template, or it refuses these roles.
        """
        ...

    def encode(self, text: str, *, special: bool = False) -> list[int]:
        """Tokens of ``text``; with ``special`` between those that the model puts around a text."""
        ...

    def decode(self, tokens: Sequence[int]) -> str:
        """The text of ``tokens``, without special ones."""
        ...

    def count(self, text: str) -> int:
        """Tokens of ``text`` with the special ones around it."""
        ...

    def offsets(self, text: str) -> list[tuple[int, int]]:
        """Start and end of each token of ``text``, in characters; no special tokens."""
        ...

    def detokenizer(self) -> Detokenizer:
        """A new incremental ``decode``."""
        ...
