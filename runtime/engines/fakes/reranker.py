"""A fake reranker: scores from a hash of query and passage."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from teola.runtime.engines.fakes.base import FakeBatchEngine, hash_of
from teola.runtime.engines.protocol import Failure, Request

SCORE_BITS = 53


class FakeReranker(FakeBatchEngine):
    """Scores from 0 to 1, different for different pairs; nothing about them is relevance."""

    def _results(self, request: Request) -> Sequence[Any] | Failure:
        query = request.common["query"]
        return [score(query, passage) for passage in request.items]


def score(query: str, passage: str) -> float:
    """The fake relevance of ``passage`` to ``query``, 0 to 1."""
    drawn = int.from_bytes(hash_of(query, passage)[:8]) >> (64 - SCORE_BITS)
    return float(drawn / (1 << SCORE_BITS))
