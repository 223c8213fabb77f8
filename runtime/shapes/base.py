"""What an LLM's answer is read as: incremental, so that items leave while it is decoded."""

from __future__ import annotations

from typing import Any, Protocol

from teola.runtime.engines.protocol import Grammar


class MalformedError(Exception):
    """An answer, or an item of it, is not what was asked for."""


class Shape(Protocol):
    """Reads one answer.

    ``port`` is where its items or its value leave; ``wanted``: so many items were asked for,
    ``found`` are there (lists only); ``full``: the rest of the answer does not count; ``value`` is
    what an answer that has ended stands for.
    """

    port: str
    wanted: int | None
    found: int

    @property
    def full(self) -> bool: ...

    @property
    def value(self) -> Any: ...

    @property
    def grammar(self) -> Grammar | None:
        """What an engine that can holds the answer to."""
        ...

    def push(self, text: str) -> tuple[str, list[Any]]:
        """Take more text; returns the part of it that counts, and the items it completes.

        Raises:
            MalformedError: an item is not what was asked for.
        """
        ...

    def finish(self, truncated: bool) -> list[Any]:
        """The items that the end completes; ``truncated``: the token limit cut the text off.

        Raises:
            MalformedError: the answer is not what was asked for.
        """
        ...


class TextShape:
    """The raw text."""

    port = "text"
    wanted: int | None = None
    found = 0
    full = False
    value: Any = None
    grammar: Grammar | None = None

    def push(self, text: str) -> tuple[str, list[Any]]:
        """All of it counts."""
        return text, []

    def finish(self, truncated: bool) -> list[Any]:
        """Any text will do."""
        return []
