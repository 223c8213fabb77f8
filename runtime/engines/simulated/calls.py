"""Calls of a simulated language model, and what it does with them now."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from teola.runtime.engines.protocol import Generate, TokenEvent
from teola.runtime.engines.simulated.answers import Answer
from teola.runtime.llm.prefixes import Marks

MERGED_TOKENS = 32
"""Tokens of one call that are told together where nothing is complete before."""


@dataclass(slots=True)
class Call:
    """Of the prompt ``cached`` tokens were there when it began, ``new`` are computed for it, and
    ``left`` of these are not yet; ``made`` are those of the answer, ``told`` those that have left;
    ``admitted``: it has its room of the KV."""

    request: Generate
    answer: Answer
    marks: Marks
    left: int
    admitted: bool = False
    begun: bool = False
    made: int = 0
    told: int = 0
    new: int = 0
    cached: int = 0

    @property
    def size(self) -> int:
        """The room that it will take."""
        return len(self.request.tokens) + len(self.answer.tokens)

    @property
    def until(self) -> int:
        """Steps to the next token that is told."""
        point = next((one for one in self.answer.points if one > self.made), self.made + 1)
        return min(point, self.told + MERGED_TOKENS) - self.made

    def event(self) -> TokenEvent | None:
        """What there is to tell."""
        if self.left:
            return None
        whole = len(self.answer.tokens)
        due = self.made in self.answer.points or self.made >= self.told + MERGED_TOKENS
        if not due and self.made < whole:
            return None
        first = not self.told
        new, self.told = self.answer.tokens[self.told : self.made], self.made
        reason = self.answer.finish_reason if self.made >= whole else None
        if not first:
            return TokenEvent(self.request.id, new, reason)
        return TokenEvent(
            self.request.id, new, reason, cached=self.cached, chances=self.answer.chances
        )


@dataclass(slots=True)
class Step:
    """``count`` decode steps of ``ms``, or one step with chunks of prompts."""

    began_s: float
    ms: float
    count: int
    chunks: Sequence[tuple[Call, int]]
    decoding: Sequence[Call]
    timer: asyncio.TimerHandle
