"""What the fake engines for batches of items share."""

from __future__ import annotations

import asyncio
import hashlib
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

from teola.runtime.engines.protocol import Capabilities, Counted, Failure, Request
from teola.runtime.engines.tokenizer.fake import ByteTokenizer
from teola.runtime.errors import UnsupportedError
from teola.runtime.hosts.errors import EngineDied

NOTHING: Mapping[str, Any] = {}


class FakeBatchEngine(ABC):
    """Time, failures and death; subclasses give the results."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        self._config = config
        self._latency_s = float(config.get("latency_ms", 0)) / 1000
        self._per_item_s = float(config.get("per_item_ms", 0)) / 1000
        self._fail_items = tuple(config.get("fail_items", ()))
        self._memory_items = config.get("memory_items")
        self._die_after = config.get("die_after")
        self.batches = 0

    async def start(self) -> Capabilities:
        """Ready at once."""
        return Capabilities(
            max_items=int(self._config.get("batch_size", 32)),
            batch_tokens=self._config.get("batch_tokens"),
        )

    async def close(self) -> None:  # noqa: B027 - nothing is what most fakes do here
        """Nothing to let go."""

    async def run(self, batch: Sequence[Request]) -> Sequence[Sequence[Any] | Failure]:
        """See `BatchEngine.run`."""
        self.batches += 1
        if self._die_after is not None and self.batches > self._die_after:
            raise EngineDied(f"the fake engine was told to die after {self._die_after} batches")
        items = sum(len(request.items) for request in batch)
        if delay := self._latency_s + self._per_item_s * items:
            await asyncio.sleep(delay)
        if self._memory_items is not None and items > self._memory_items:
            failure = Failure("memory", f"{items} items do not fit, {self._memory_items} do")
            return [failure] * len(batch)
        count = ByteTokenizer().count
        return Counted(
            [self._answer(request) for request in batch],
            [[count(item) for item in r.items if isinstance(item, str)] for r in batch],
        )

    def _answer(self, request: Request) -> Sequence[Any] | Failure:
        results = self._results(request)
        if not self._fail_items or isinstance(results, Failure):
            return results
        return [
            self._failure(item) or result
            for item, result in zip(request.items, results, strict=True)
        ]

    def _failure(self, item: Any) -> Failure | None:
        text = self._text(item)
        found = next((part for part in self._fail_items if part in text), None)
        return found and Failure("item", f"the fake engine was told to fail on {found!r}")

    def _text(self, item: Any) -> str:
        return item if isinstance(item, str) else ""

    @abstractmethod
    def _results(self, request: Request) -> Sequence[Any] | Failure:
        """One result an item."""

    async def control(self, command: str, arguments: Mapping[str, Any]) -> Any:
        """None known."""
        raise UnsupportedError(
            f"{type(self).__name__} knows no command {command!r} ({', '.join(arguments)})"
        )


def hash_of(*parts: str) -> bytes:
    """32 bytes that differ for different parts."""
    digest = hashlib.sha256()
    for part in parts:
        encoded = part.encode("utf-8", errors="surrogatepass")
        digest.update(len(encoded).to_bytes(8))
        digest.update(encoded)
    return digest.digest()
