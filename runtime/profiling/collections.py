"""Probes of the operations of stores, on a collection made for it and dropped afterwards."""

from __future__ import annotations

import asyncio
from typing import Any

from teola.runtime.engines.protocol import Request
from teola.runtime.profiling.items import answered
from teola.runtime.profiling.probe import Probe, Sample, Subject, sample
from teola.runtime.profiling.texts import SEED

COLLECTION = "~profile"
"""Unnamed, as the collections of a query."""
SIZE = 1000
"""Chunks of the collection that is searched."""
TOP_K = 16
CHUNK_WORDS, QUERY_WORDS, VOCABULARY = 200, 8, 20_000
"""Words of a chunk (about 256 tokens), of a query, and different ones."""


class StoreProbe(Probe):
    """Has unit vectors and chunks to put in; an item's tokens make no difference to a store."""

    count_tokens = False
    mode = "dense"

    def __init__(self, subject: Subject) -> None:
        self.subject = subject
        self.max_items = subject.capabilities.max_items
        import numpy as np

        self.random = np.random.default_rng(SEED)

    def vectors(self, count: int) -> list[Any]:
        """``count`` random unit vectors of ``(dimension,)`` float32."""
        import numpy as np

        rows = self.random.standard_normal((count, self.subject.dimension), np.float32)
        return list(rows / np.linalg.norm(rows, axis=1, keepdims=True))

    async def ingest(self, first: int, count: int) -> None:
        """Put chunks number ``first`` and so on under the pending version."""
        chunks = [_chunk(number) for number in range(first, first + count)]
        items = list(zip(chunks, self.vectors(count), strict=True))
        await answered(self.subject, self.ingestion(items))

    def ingestion(self, items: list[Any]) -> Request:
        """The request that puts ``items`` in."""
        return Request("ingest", items, {"collection": COLLECTION, "pending": COLLECTION})

    async def publish(self) -> None:
        """Make what was put in the collection's content."""
        arguments = {"collection": COLLECTION, "pending": COLLECTION, "mode": self.mode}
        await self.subject.handle.control("publish", arguments)

    async def close(self) -> None:
        await self.subject.handle.control("discard", {"pending": COLLECTION})
        await self.subject.handle.control("drop", {"collection": COLLECTION})


class Ingest(StoreProbe):
    """Chunks with their vectors into a new collection, published."""

    async def run(self, items: int, tokens: int) -> Sample:
        chunks = [_chunk(number) for number in range(items)]
        request = self.ingestion(list(zip(chunks, self.vectors(items), strict=True)))
        clock = asyncio.get_running_loop().time
        began = clock()
        await answered(self.subject, request)
        await self.publish()
        seconds = clock() - began
        await self.close()
        return sample(seconds)


class Search(StoreProbe):
    """The nearest 16 of 1,000 chunks."""

    async def prepare(self) -> None:
        for first in range(0, SIZE, self.max_items):
            await self.ingest(first, min(self.max_items, SIZE - first))
        await self.publish()

    def request(self, items: int) -> Request:
        """A batch of searches."""
        common = {"collection": COLLECTION, "top_k": TOP_K}
        return Request("search", self.vectors(items), common)

    async def run(self, items: int, tokens: int) -> Sample:
        request = self.request(items)
        clock = asyncio.get_running_loop().time
        began = clock()
        await answered(self.subject, request)
        return sample(clock() - began)


class KeywordSearch(Search):
    """The 16 of 1,000 chunks that have most of a query's words."""

    mode = "keyword"

    def request(self, items: int) -> Request:
        common = {"collection": COLLECTION, "top_k": TOP_K}
        return Request("keyword_search", [_words(at, QUERY_WORDS) for at in range(items)], common)


def _words(number: int, count: int) -> str:
    """Words that are as frequent as those of a language (Zipf's law), the same each time."""
    import numpy as np

    ranks = np.random.default_rng([SEED, number]).zipf(1.3, count)
    return " ".join(f"w{rank % VOCABULARY}" for rank in ranks)


def _chunk(number: int) -> dict[str, Any]:
    text = _words(number, CHUNK_WORDS)
    return {
        "id": f"profile-{number}",
        "text": text,
        "document": "profile",
        "index": number,
        "context": "",
        "meta": {},
    }
