"""Reranking by late interaction over token embeddings (MaxSim: Khattab and Zaharia, ColBERT, 2020),
with any encoder: it needs no weights of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from teola.runtime.engines.embedding_cache import EmbeddingCache, Tokens
from teola.runtime.engines.protocol import Capabilities, Counted, Failure, Request
from teola.runtime.engines.text_limit import too_long
from teola.runtime.engines.token_encoder import TokenEncoder
from teola.runtime.engines.worker_thread import WorkerThread
from teola.runtime.errors import UnsupportedError

if TYPE_CHECKING:
    import torch

NOTHING_IN_COMMON = -1.0
"""The score where a side has no tokens: the least cosine."""


class MaxSimReranker:
    """Scores a passage by the cosine, from -1 to 1, of each query token to the passage token
    nearest to it, averaged over the query's tokens; special tokens do not count.

    A text over the model's limit fails, or is cut where the config says ``truncate``: a passage
    alone, a query with its request. Passages are encoded without their query, so what was encoded
    lately is kept for the next one (``cache_mib``).
    """

    def __init__(self, config: Mapping[str, Any]) -> None:
        self._config = config
        self._truncate = bool(config.get("truncate", False))
        self._cache = EmbeddingCache(int(config.get("cache_mib", 64)) << 20)
        self._thread = WorkerThread("reranker")
        self._encoder: TokenEncoder | None = None

    async def start(self) -> Capabilities:
        """Load the model."""
        return await self._thread.call(self._load)

    def _load(self) -> Capabilities:
        self._encoder = encoder = TokenEncoder(self._config)
        encoder.embed([encoder.tokens("warm")])
        return Capabilities(
            max_items=int(self._config.get("batch_size") or 32),
            batch_tokens=self._config.get("batch_tokens"),
            limit=encoder.limit,
            dimension=encoder.dimension,
            details=encoder.details,
        )

    async def close(self) -> None:
        """Let the model go."""
        self._thread.close()
        self._encoder = None
        self._cache.clear()

    async def control(self, command: str, arguments: Mapping[str, Any]) -> Any:
        """None known."""
        raise UnsupportedError(f"rerankers know no command {command!r}")

    async def run(self, batch: Sequence[Request]) -> Sequence[Sequence[Any] | Failure]:
        """See `BatchEngine.run`."""
        if self._encoder is None:
            raise UnsupportedError("the reranker has not been started")
        return await self._thread.call(self._run, self._encoder, batch)

    def _run(
        self, encoder: TokenEncoder, batch: Sequence[Request]
    ) -> Sequence[Sequence[Any] | Failure]:
        queries = [self._tokens(encoder, "the query", r.common["query"]) for r in batch]
        passages = [
            [self._tokens(encoder, "the passage", text) for text in request.items]
            for request in batch
        ]
        found = _embedded(encoder, self._cache, queries, passages)
        special = encoder.limit - encoder.room
        return Counted(
            [
                query if isinstance(query, Failure) else [_score(found, query, one) for one in some]
                for query, some in zip(queries, passages, strict=True)
            ],
            [
                [len(one) + special for one in some if not isinstance(one, Failure)]
                for some in passages
            ],
        )

    def _tokens(self, encoder: TokenEncoder, what: str, text: str) -> Tokens | Failure:
        tokens = encoder.tokens(text)
        if len(tokens) <= encoder.room:
            return tokens
        if self._truncate:
            return tokens[: encoder.room]
        special = encoder.limit - encoder.room
        return too_long(what, len(tokens) + special, encoder.limit)


def _embedded(
    encoder: TokenEncoder,
    cache: EmbeddingCache,
    queries: Sequence[Tokens | Failure],
    passages: Sequence[Sequence[Tokens | Failure]],
) -> dict[Tokens, torch.Tensor]:
    """Token embeddings of each different text: what comes twice is computed once, and not at all
    what is cached. Passages of a query that failed are left out."""
    wanted: dict[Tokens, None] = {}
    for query, some in zip(queries, passages, strict=True):
        if not isinstance(query, Failure):
            wanted[query] = None
            wanted.update((one, None) for one in some if not isinstance(one, Failure))
    found = {tokens: rows for tokens in wanted if (rows := cache.get(tokens)) is not None}
    new = [tokens for tokens in wanted if tokens not in found]
    for tokens, rows in zip(new, encoder.embed(new), strict=True):
        found[tokens] = rows
        cache.put(tokens, rows)
    return found


def _score(
    found: Mapping[Tokens, torch.Tensor], query: Tokens, passage: Tokens | Failure
) -> float | Failure:
    """MaxSim of the token embeddings ``(q, d)`` and ``(p, d)``, all of length 1."""
    if isinstance(passage, Failure):
        return passage
    if not query or not passage:
        return NOTHING_IN_COMMON
    return float((found[query] @ found[passage].T).amax(dim=1).mean())
