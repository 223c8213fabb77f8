"""A fake embedder: unit vectors from a hash of the text."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from teola.runtime.engines.fakes.base import FakeBatchEngine, hash_of
from teola.runtime.engines.protocol import Capabilities, Failure, Request
from teola.runtime.engines.tokenizer.fake import ByteTokenizer


class FakeEmbedder(FakeBatchEngine):
    """``(dimension,)`` float32 vectors of length 1; nothing about them is like the text's meaning.

    With ``limit_tokens`` a longer text (in bytes, and two) fails, as with a real embedder.
    """

    def __init__(self, config: Mapping[str, Any]) -> None:
        super().__init__(config)
        self._dimension = int(config.get("dimension", 32))
        self._limit: int | None = config.get("limit_tokens")
        self._tokenizer = ByteTokenizer()

    async def start(self) -> Capabilities:
        """Ready at once."""
        return replace(await super().start(), dimension=self._dimension, limit=self._limit)

    def _results(self, request: Request) -> Sequence[Any] | Failure:
        vectors = list(embed(request.items, self._dimension))
        if self._limit is None:
            return vectors
        return [
            self._too_long(text) or vector
            for text, vector in zip(request.items, vectors, strict=True)
        ]

    def _too_long(self, text: str) -> Failure | None:
        count = self._tokenizer.count(text)
        if self._limit is None or count <= self._limit:
            return None
        return Failure("item", f"a text of {count} tokens is over the limit of {self._limit}")


def embed(texts: Sequence[str], dimension: int) -> np.ndarray[Any, np.dtype[np.float32]]:
    """The fake embeddings of ``texts``: ``(n, dimension)`` float32, each row of length 1."""
    seeds = (hash_of(text) for text in texts)
    drawn = b"".join(hashlib.shake_256(seed).digest(4 * dimension) for seed in seeds)
    rows = np.frombuffer(drawn, dtype="<i4").reshape(len(texts), dimension).astype(np.float32)
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(rows / np.where(lengths == 0, 1, lengths), dtype=np.float32)
