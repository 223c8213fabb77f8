"""What simulated engines for batches of items share: a batch takes its time, then has results."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar
from zlib import crc32

from teola.runtime.engines.protocol import Capabilities, Failure, Request
from teola.runtime.engines.simulated.cores import cores_of
from teola.runtime.engines.simulated.prices import Prices
from teola.runtime.engines.tokenizer.estimate import CHARACTERS
from teola.runtime.errors import UnsupportedError


class SimulatedBatchEngine(ABC):
    """A batch takes what the profile says (``Entry.batch_ms``) for each operation in it, and longer
    where another engine works on the cores that it is pinned to.

    It has at most ``batch_size`` items, or the knee of the operation that has the larger one.
    """

    operations: ClassVar[tuple[str, ...]]

    def __init__(self, config: Mapping[str, Any]) -> None:
        prices = Prices(config)
        self._entries = {name: prices.of(name) for name in self.operations}
        self._batch_size = _most(prices.settings.get("batch_size"))
        self._batch_tokens = _most(prices.settings.get("batch_tokens"))
        self._cores = cores_of({**prices.settings, "replicas": config.get("replicas", 1)})

    async def start(self) -> Capabilities:
        """Ready at once."""
        knee = max(entry.knee for entry in self._entries.values())
        return Capabilities(max_items=self._batch_size or knee, batch_tokens=self._batch_tokens)

    async def close(self) -> None:  # noqa: B027 - nothing is what most of them do here
        """Nothing to let go."""

    async def run(self, batch: Sequence[Request]) -> Sequence[Sequence[Any] | Failure]:
        """See `BatchEngine.run`."""
        counts: Counter[str] = Counter()
        added: dict[str, float] = defaultdict(float)
        for request in batch:
            entry = self._entries[request.operation]
            counts[request.operation] += len(request.items)
            added[request.operation] += sum(entry.added_ms(self.tokens(i)) for i in request.items)
        milliseconds = [self._entries[one].batch_ms(n, added[one]) for one, n in counts.items()]
        await self._cores.work(sum(milliseconds) / 1000)
        return [self.results(request) for request in batch]

    def tokens(self, item: Any) -> int:
        """The tokens of an item."""
        return -(-len(item) // CHARACTERS)

    @abstractmethod
    def results(self, request: Request) -> Sequence[Any] | Failure:
        """One result an item."""

    async def control(self, command: str, arguments: Mapping[str, Any]) -> Any:
        """None known."""
        raise UnsupportedError(
            f"{type(self).__name__} knows no command {command!r} ({', '.join(arguments)})"
        )


def _most(setting: object) -> int | None:
    return setting if isinstance(setting, int) and setting > 0 else None


def number(*parts: str) -> float:
    """From 0 to 1, different for different texts (as good as always)."""
    mark = 0
    for part in parts:
        mark = crc32(part.encode("utf-8", errors="replace"), mark)
    return mark / (1 << 32)
