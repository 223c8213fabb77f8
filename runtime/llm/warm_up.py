"""A warm-up: the beginning of a prompt that an engine computes before the prompt is complete."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from teola.runtime.engines.protocol import Generate, TokenEvent
from teola.runtime.llm.prefixes import Marks
from teola.runtime.observing.engine_watch import Origin

if TYPE_CHECKING:
    from teola.runtime.llm.replica import LLMReplica

MOST_NEW_TOKENS = 2
"""What an engine may generate for it, though nobody reads that."""
LAST = 1 << 62
"""Its priority: behind every call."""


class Owner(Origin, Protocol):
    """Who wants a warm-up."""

    def sent(self, tokens: int) -> None:
        """The engine has it."""
        ...

    def ended(self) -> None:
        """The engine has done it, or could not."""
        ...


@dataclass(slots=True)
class WarmUpCounts:
    """What became of an engine's warm-ups: ``sent`` to it with so many ``tokens``; of these
    ``used`` by a call, ``wasted`` (their queries ended without one) or ``failed``; ``dropped``:
    never sent."""

    sent: int = 0
    used: int = 0
    dropped: int = 0
    wasted: int = 0
    failed: int = 0
    tokens: int = 0


@dataclass(slots=True, eq=False)
class WarmUp:
    """Whole blocks of ``prompt`` with their ``marks``, for calls with an ``adapter``; the last mark
    is its ``key``. Worth sending while at least ``min_new_tokens`` of it are not cached; ``owners``
    are those who want it."""

    prompt: Sequence[int]
    marks: Marks
    min_new_tokens: int
    adapter: str | None = None
    owners: dict[Owner, None] = field(default_factory=dict)
    used: bool = False
    id: str = ""
    running: int = 0
    queued_s: float = 0.0
    sender: asyncio.Task[None] | None = None
    home: LLMReplica | None = None

    @property
    def key(self) -> int:
        """Stands for the prefix: equal prefixes are warmed once."""
        return self.marks[-1]

    @property
    def tokens(self) -> int:
        """What it takes of the engine's KV."""
        return len(self.prompt) + MOST_NEW_TOKENS

    def begins(self, marks: Marks) -> bool:
        """Whether a prompt begins with it."""
        count = len(self.marks)
        return len(marks) >= count and marks[count - 1] == self.key

    def request(self) -> Generate:
        """What the engine is asked."""
        return Generate(
            self.id,
            self.prompt,
            1,
            stream=False,
            warm=True,
            priority=LAST,
            adapter=self.adapter,
        )

    def started(self) -> None:
        """It goes to the engine."""
        for owner in self.owners:
            owner.sent(len(self.prompt))

    def event(self, event: TokenEvent) -> None:
        """The engine's only event."""
        for owner in self.owners:
            owner.ended()
