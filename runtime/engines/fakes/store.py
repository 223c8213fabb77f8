"""A fake store: exact search over everything, with the versions of a real one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np

from teola.runtime.engines.collection_version import in_order
from teola.runtime.engines.fakes.base import FakeBatchEngine
from teola.runtime.engines.protocol import Failure, Request
from teola.runtime.errors import RunError, UnsupportedError

Chunk: TypeAlias = Mapping[str, Any]
Vector: TypeAlias = np.ndarray[Any, np.dtype[np.float32]]


@dataclass(frozen=True)
class Version:
    """A published state of a collection; readers hold one and see the whole of it."""

    chunks: tuple[Chunk, ...] = ()
    vectors: Vector = field(default_factory=lambda: np.empty((0, 0), np.float32))
    fingerprint: str | None = None


class FakeStore(FakeBatchEngine):
    """Collections in memory: ingested under a pending version, published in one step.

    Commands: ``publish`` {collection, pending, fingerprint?, documents?} puts the pending chunks
    in, their documents and those named replacing what was there of them; ``discard`` {pending};
    ``drop`` {collection};
    ``describe`` {} -> {collections: {name: {count, dimension, fingerprint}}, pending: [names]}.
    """

    def __init__(self, config: Mapping[str, Any]) -> None:
        super().__init__(config)
        self._metric = str(config.get("metric", "cosine"))
        self._collections: dict[str, Version] = {}
        self._pending: dict[str, dict[str, tuple[Chunk, Vector]]] = {}

    def _text(self, item: Any) -> str:
        return str(item[0]["text"]) if isinstance(item, tuple) else ""

    def _results(self, request: Request) -> Sequence[Any] | Failure:
        if request.operation == "ingest":
            return self._ingest(request)
        return self._search(request)

    def _ingest(self, request: Request) -> Sequence[None]:
        rows = self._pending.setdefault(request.common["pending"], {})
        for chunk, vector in request.items:
            if self._failure((chunk, vector)) is None:
                rows[chunk["id"]] = (chunk, np.asarray(vector, np.float32))
        return [None] * len(request.items)

    def _search(self, request: Request) -> Sequence[Any] | Failure:
        name = request.common["collection"]
        version = self._collections.get(name)
        if version is None:
            return Failure("item", f"there is no collection {name!r}")
        least = request.common.get("min_score")
        return [
            self._nearest(version, query, request.common["top_k"], least) for query in request.items
        ]

    def _nearest(
        self, version: Version, query: Vector, top_k: int, least: float | None
    ) -> list[dict[str, Any]]:
        if not version.chunks:
            return []
        scores = similarities(version.vectors, np.asarray(query, np.float32), self._metric)
        order = np.argsort(-scores, kind="stable")[:top_k]
        chosen = [(version.chunks[row], float(scores[row])) for row in order]
        return [
            {**chunk, "score": score, "rank": rank}
            for rank, (chunk, score) in enumerate(chosen, 1)
            if least is None or score >= least
        ]

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
    ) -> dict[str, Any]:
        before = self._collections.get(collection, Version(fingerprint=fingerprint))
        rows = self._pending.get(pending, {})
        check_same(collection, before, rows, fingerprint)
        self._pending.pop(pending, None)
        replaced = {*documents, *(chunk["document"] for chunk, _ in rows.values())}
        kept = [
            (chunk, vector)
            for chunk, vector in zip(before.chunks, before.vectors, strict=True)
            if chunk["document"] not in replaced
        ]
        pairs = [*kept, *in_order(rows.values())]
        vectors = np.array([vector for _, vector in pairs], np.float32)
        self._collections[collection] = Version(
            tuple(chunk for chunk, _ in pairs),
            vectors if pairs else np.empty((0, 0), np.float32),
            before.fingerprint or fingerprint,
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
    name: str,
    before: Version,
    rows: Mapping[str, tuple[Chunk, Vector]],
    fingerprint: str | None,
) -> None:
    """Refuse rows made by another embedder than the collection's.

    Raises:
        RunError: another fingerprint, or vectors of another dimension.
    """
    if None not in (before.fingerprint, fingerprint) and before.fingerprint != fingerprint:
        raise RunError(
            f"collection {name!r} holds vectors of embedder {before.fingerprint}, not of "
            f"{fingerprint}: index into another collection"
        )
    dimensions = {vector.shape[0] for _, vector in rows.values()}
    if before.chunks:
        dimensions.add(before.vectors.shape[1])
    if len(dimensions) > 1:
        raise RunError(
            f"collection {name!r} cannot hold vectors of dimensions "
            f"{', '.join(map(str, sorted(dimensions)))} together"
        )


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
