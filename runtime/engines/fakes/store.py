"""A fake store: exact search over everything, for embeddings and words, with the versions of a real
one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any, TypeAlias

import numpy as np

from teola.runtime.engines.collections.keyword_index import searched_text
from teola.runtime.engines.collections.metadata import holds
from teola.runtime.engines.collections.search import add_row, unknown, unlike, unsearchable
from teola.runtime.engines.collections.store import UNNAMED
from teola.runtime.engines.collections.version import in_order
from teola.runtime.engines.fakes.base import FakeBatchEngine
from teola.runtime.engines.fakes.words import BM25, words
from teola.runtime.engines.protocol import Failure, Request
from teola.runtime.errors import RunError, UnsupportedError

Chunk: TypeAlias = Mapping[str, Any]
Vector: TypeAlias = np.ndarray[Any, np.dtype[np.float32]]
Row: TypeAlias = tuple[Chunk, Vector | None]
Scored: TypeAlias = list[tuple[float, int]]
"""Scores with the places of the chunks they are of."""


@dataclass(frozen=True)
class Version:
    """A published state of a collection; readers hold one and see the whole of it."""

    chunks: tuple[Chunk, ...] = ()
    vectors: Vector = field(default_factory=lambda: np.empty((0, 0), np.float32))
    fingerprint: str | None = None
    mode: str | None = None

    @cached_property
    def words(self) -> BM25:
        """Its chunks by their words."""
        return BM25([words(searched_text(chunk)) for chunk in self.chunks])


class FakeStore(FakeBatchEngine):
    """Collections in memory: ingested under a pending version, published in one step.

    Commands: ``publish`` {collection, pending, fingerprint?, documents?, mode?} puts the pending
    chunks in, their documents and those named replacing what was there of them; ``discard``
    {pending}; ``drop`` {collection};
    ``describe`` {} -> {collections: {name: {count, dimension, fingerprint}}, pending: [names]}.
    """

    def __init__(self, config: Mapping[str, Any]) -> None:
        super().__init__(config)
        self._metric = str(config.get("metric", "cosine"))
        self._collections: dict[str, Version] = {}
        self._pending: dict[str, dict[str, Row]] = {}

    def _text(self, item: Any) -> str:
        return str(item[0]["text"]) if isinstance(item, tuple) else super()._text(item)

    def _results(self, request: Request) -> Sequence[Any] | Failure:
        if request.operation == "ingest":
            return self._ingest(request)
        return self._search(request)

    def _ingest(self, request: Request) -> Sequence[Failure | None]:
        rows = self._pending.setdefault(request.common["pending"], {})
        return [self._failure(item) or add_row(rows, *item) for item in request.items]

    def _search(self, request: Request) -> Sequence[Any] | Failure:
        name = request.common["collection"]
        version = self._collections.get(name)
        if version is None:
            named = sorted(one for one in self._collections if one[:1] != UNNAMED)
            return Failure("item", unknown(name, named))
        if problem := unsearchable(name, version.mode, request.operation):
            return Failure("item", problem)
        by_words = request.operation == "keyword_search"
        score = self._by_words if by_words else partial(self._by_vectors, name)
        found = [score(version, one) for one in request.items]
        return [
            one if isinstance(one, Failure) else _best(version, one, request.common)
            for one in found
        ]

    def _by_vectors(self, name: str, version: Version, query: Any) -> Scored | Failure:
        row = np.asarray(query, np.float32)
        dimension = version.vectors.shape[1] if version.chunks else None
        if problem := unlike(name, row, dimension):
            return problem
        if not version.chunks:
            return []
        found = similarities(version.vectors, row, self._metric)
        return [(float(score), at) for at, score in enumerate(found)]

    def _by_words(self, version: Version, query: Any) -> Scored | Failure:
        found = version.words.scores(words(query))
        return [(score, at) for at, score in enumerate(found) if score]

    async def control(self, command: str, arguments: Mapping[str, Any]) -> Any:
        """See the class."""
        if command == "publish":
            return self._publish(**arguments)
        if command == "discard":
            return self._pending.pop(arguments["pending"], None) is not None
        if command == "drop":
            return self._collections.pop(arguments["collection"], None) is not None
        if command == "describe":
            return self._describe()
        raise UnsupportedError(f"stores know no command {command!r}")

    def _publish(
        self,
        collection: str,
        pending: str,
        fingerprint: str | None = None,
        documents: Sequence[str] = (),
        mode: str = "dense",
    ) -> dict[str, Any]:
        before = self._collections.get(collection, Version(fingerprint=fingerprint, mode=mode))
        rows = self._pending.get(pending, {})
        check_same(collection, before, rows, fingerprint, mode)
        self._pending.pop(pending, None)
        replaced = {*documents, *(chunk["document"] for chunk, _ in rows.values())}
        kept = [
            (chunk, vector)
            for chunk, vector in zip(before.chunks, before.vectors, strict=True)
            if chunk["document"] not in replaced
        ]
        pairs = [*kept, *in_order(rows.values())]
        vectors = np.array([vector for _, vector in pairs if vector is not None], np.float32)
        self._collections[collection] = Version(
            tuple(chunk for chunk, _ in pairs),
            vectors.reshape(len(pairs), -1)
            if len(vectors)
            else np.empty((len(pairs), 0), np.float32),
            before.fingerprint or fingerprint,
            before.mode,
        )
        return {"count": len(pairs)}

    def _describe(self) -> dict[str, Any]:
        return {
            "collections": {
                name: {
                    "count": len(version.chunks),
                    "dimension": version.vectors.shape[1],
                    "fingerprint": version.fingerprint,
                }
                for name, version in self._collections.items()
            },
            "pending": sorted(self._pending),
        }


def check_same(
    name: str, before: Version, rows: Mapping[str, Row], fingerprint: str | None, mode: str
) -> None:
    """Refuse rows made by another embedder than the collection's, or for another mode.

    Raises:
        RunError: another mode or fingerprint, or vectors of another dimension.
    """
    if before.mode != mode:
        raise RunError(
            f"collection {name!r} has the mode {before.mode}, not {mode}: index into another "
            "collection"
        )
    if None not in (before.fingerprint, fingerprint) and before.fingerprint != fingerprint:
        raise RunError(
            f"collection {name!r} holds vectors of embedder {before.fingerprint}, not of "
            f"{fingerprint}: index into another collection"
        )
    dimensions = {0 if vector is None else vector.shape[0] for _, vector in rows.values()}
    if mode != "keyword" and 0 in dimensions:
        raise RunError(f"collection {name!r} has the mode {mode}: embed its chunks")
    if before.chunks:
        dimensions.add(before.vectors.shape[1])
    if len(dimensions) > 1:
        raise RunError(
            f"collection {name!r} cannot hold vectors of dimensions "
            f"{', '.join(map(str, sorted(dimensions)))} together"
        )


def _best(version: Version, scored: Scored, common: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The best of what was scored; of equal scores the earlier chunk."""
    where, least = common.get("where"), common.get("min_score")
    allowed = [
        (score, at)
        for score, at in scored
        if where is None or holds(where, version.chunks[at].get("meta") or {})
    ]
    best = sorted(allowed, key=lambda one: (-one[0], one[1]))[: common["top_k"]]
    return [
        {**version.chunks[at], "score": score, "rank": rank}
        for rank, (score, at) in enumerate(best, 1)
        if least is None or score >= least
    ]


def similarities(vectors: Vector, query: Vector, metric: str) -> Vector:
    """How near ``query`` ``(d,)`` is to each of ``vectors`` ``(n, d)``: ``(n,)``, larger is nearer.

    ``l2`` gives negative squared distances.
    """
    if metric == "l2":
        return np.asarray(-np.square(vectors - query).sum(axis=1), np.float32)
    products = vectors @ query
    if metric == "cosine":
        lengths = np.linalg.norm(vectors, axis=1) * np.linalg.norm(query)
        products = products / np.where(lengths == 0, 1, lengths)
    return np.asarray(products, np.float32)
