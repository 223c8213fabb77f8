"""Token embeddings of the texts that were encoded lately."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    import torch

Tokens: TypeAlias = tuple[int, ...]


class EmbeddingCache:
    """At most ``limit_bytes`` of embeddings by the tokens they are of; the least recently used go
    first. With a limit of 0 nothing is kept."""

    def __init__(self, limit_bytes: int) -> None:
        self._limit_bytes = limit_bytes
        self._kept: OrderedDict[Tokens, torch.Tensor] = OrderedDict()
        self.size_bytes = 0

    def get(self, tokens: Tokens) -> torch.Tensor | None:
        """The embeddings ``(len(tokens), d)`` of a text, if they are kept."""
        found = self._kept.get(tokens)
        if found is not None:
            self._kept.move_to_end(tokens)
        return found

    def put(self, tokens: Tokens, embeddings: torch.Tensor) -> None:
        """Keep a copy: ``embeddings`` may be a part of a larger tensor, which would stay whole."""
        if embeddings.nbytes > self._limit_bytes or tokens in self._kept:
            return
        self._kept[tokens] = embeddings.clone()
        self.size_bytes += embeddings.nbytes
        while self.size_bytes > self._limit_bytes:
            _, oldest = self._kept.popitem(last=False)
            self.size_bytes -= oldest.nbytes

    def clear(self) -> None:
        """Let everything go."""
        self._kept.clear()
        self.size_bytes = 0
