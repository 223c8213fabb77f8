"""What measures one operation: a probe, made for an engine that has started."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from teola.runtime.engines.protocol import Capabilities
from teola.runtime.hosts import EngineHandle

if TYPE_CHECKING:
    from teola.runtime.engines.tokenizer import Tokenizer
    from teola.runtime.profiling.calls import Tap

LEAST_MS = 0.001
"""What took no time on the clock took this."""


@dataclass(frozen=True, slots=True)
class Subject:
    """The engine that is measured. ``tap`` hears its tokens; ``dimension`` is that of the vectors
    which stores are to take."""

    handle: EngineHandle
    tap: Tap
    capabilities: Capabilities
    tokenizer: Callable[[], Tokenizer]
    dimension: int


@dataclass(frozen=True, slots=True)
class Sample:
    """One batch: the milliseconds it took, and the tokens of an item as they came out."""

    ms: float
    tokens: float = 0.0


class Probe(ABC):
    """Runs one operation on what it makes up.

    ``max_items``: items of the biggest batch. ``usual``: tokens of an item while the number of
    items is varied; ``lengths``: the other lengths, shortest first. ``count_tokens``: whether an
    item's tokens are a part of what it costs.
    """

    max_items: int = 1
    usual: int = 0
    lengths: Sequence[int] = ()
    count_tokens: bool = True

    def fits(self, items: int, tokens: int) -> bool:
        """Whether the engine can be given such a batch."""
        return items <= self.max_items

    async def prepare(self) -> None:  # noqa: B027  # most probes need nothing
        """Put there what the runs need."""

    @abstractmethod
    async def run(self, items: int, tokens: int) -> Sample:
        """Run one batch of ``items`` items of ``tokens`` tokens.

        Raises:
            MeasureError: it fails.
        """

    async def close(self) -> None:  # noqa: B027  # most probes leave nothing
        """Take away what was put there."""


def sample(seconds: float, tokens: float = 0.0) -> Sample:
    """A sample of so many seconds."""
    return Sample(max(seconds * 1000, LEAST_MS), tokens)
