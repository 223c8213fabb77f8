"""A store in memory: exact search in flat FAISS indexes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from teola.runtime.engines.collection_version import Chunk, CollectionVersion, Vector, in_order
from teola.runtime.engines.flat_index import FlatIndex, Metric
from teola.runtime.engines.protocol import Capabilities, Failure, Request
from teola.runtime.errors import RunError, UnsupportedError

MAX_ITEMS = 256
Rows = dict[str, tuple[Chunk, Vector]]


class FaissStore:
    """Collections in memory: ingested under a pending version, published in one step.

    Every publication makes a new version and then puts it in the old one's place: a search sees one
    version, whole. Commands: ``publish`` {collection, pending, fingerprint?, documents?} ->
    {count}: the documents of the pending chunks, and those named, replace what the collection has
    of them; ``discard`` {pending} and ``drop`` {collection} -> whether it was there; ``describe``
    {} -> {collections: {name: {count, dimension, fingerprint}}, pending: [names]}, or with
    {collection} that one or None.
    """

    def __init__(self, config: Mapping[str, Any]) -> None:
        self._metric: Metric = config.get("metric") or "cosine"
        self._collections: dict[str, CollectionVersion] = {}
        self._pending: dict[str, Rows] = {}

    async def start(self) -> Capabilities:
        """Load the library; one thread suffices and leaves the cores to the models."""
        import faiss

        faiss.omp_set_num_threads(1)
        return Capabilities(max_items=MAX_ITEMS, details={"metric": self._metric})

    async def close(self) -> None:
        """Let all collections go."""
        self._collections.clear()
        self._pending.clear()

    async def run(self, batch: Sequence[Request]) -> Sequence[Sequence[Any] | Failure]:
        """See `BatchEngine.run`."""
        return [self._answer(request) for request in batch]

    def _answer(self, request: Request) -> Sequence[Any] | Failure:
        if request.operation == "ingest":
            rows = self._pending.setdefault(request.common["pending"], {})
            return [_ingest(rows, chunk, vector) for chunk, vector in request.items]
        if request.operation == "search":
            return self._search(request)
        return Failure("item", f"a store cannot do {request.operation!r}: ingest or search")

    def _search(self, request: Request) -> Sequence[Any] | Failure:
        name, top_k = request.common["collection"], request.common["top_k"]
        version = self._collections.get(name)
        if version is None:
            return Failure("item", f"there is no collection {name!r}{self._known()}")
        least = request.common.get("min_score")
        return [_passages(name, version, query, top_k, least) for query in request.items]

    def _known(self) -> str:
        names = ", ".join(repr(name) for name in sorted(self._collections) if name[:1] != "~")
        return f": there are {names}" if names else ""

    async def control(self, command: str, arguments: Mapping[str, Any]) -> Any:
        """See the class.

        Raises:
            RunError: the pending chunks do not go into the collection; it is as it was.
            UnsupportedError: an unknown command.
        """
        if command == "publish":
            return self._publish(**arguments)
        if command == "discard":
            return self._pending.pop(arguments["pending"], None) is not None
        if command == "drop":
            return self._collections.pop(arguments["collection"], None) is not None
        if command == "describe":
            return self._describe(arguments.get("collection"))
        raise UnsupportedError(
            f"stores know no command {command!r}: publish, discard, drop or describe"
        )

    def _publish(
        self,
        collection: str,
        pending: str,
        fingerprint: str | None = None,
        documents: Sequence[str] = (),
    ) -> dict[str, Any]:
        before = self._collections.get(collection) or CollectionVersion(FlatIndex(self._metric))
        rows = self._pending.get(pending, {})
        _check_fingerprint(collection, before.fingerprint, fingerprint)
        _check_dimension(collection, before, rows)
        after = before.replaced(in_order(rows.values()), fingerprint, documents)
        self._collections[collection] = after
        self._pending.pop(pending, None)
        return {"count": len(after.chunks)}

    def _describe(self, name: str | None) -> Any:
        if name is not None:
            version = self._collections.get(name)
            return version and version.describe()
        return {
            "collections": {name: one.describe() for name, one in self._collections.items()},
            "pending": sorted(self._pending),
        }


def _ingest(rows: Rows, chunk: Chunk, vector: Any) -> Failure | None:
    row = np.array(vector, np.float32)
    if problem := _unusable(row):
        return Failure("item", f"the embedding of chunk {chunk['id']!r} {problem}")
    first = next(iter(rows.values()), None)
    if first is not None and len(first[1]) != len(row):
        return Failure(
            "item",
            f"the embedding of chunk {chunk['id']!r} has {len(row)} dimensions, those before it "
            f"{len(first[1])}",
        )
    rows.setdefault(chunk["id"], (chunk, row))
    return None


def _passages(
    name: str, version: CollectionVersion, query: Any, top_k: int, least: float | None
) -> list[dict[str, Any]] | Failure:
    row = np.array(query, np.float32)
    if problem := _unusable(row):
        return Failure("item", f"the embedding to search with {problem}")
    if not version.chunks:
        return []
    if len(row) != version.index.dimension:
        return Failure(
            "item",
            f"the embedding has {len(row)} dimensions, collection {name!r} has "
            f"{version.index.dimension}: search with the embedder that indexed it",
        )
    return [
        {**version.chunks[position], "score": score, "rank": rank}
        for rank, (position, score) in enumerate(version.index.nearest(row, top_k), 1)
        if least is None or score >= least
    ]


def _unusable(row: Vector) -> str | None:
    if row.ndim != 1 or not len(row):
        return f"has shape {row.shape}, not (d,)"
    if not math.isfinite(float(row.sum())) and not np.isfinite(row).all():
        return "holds NaN or infinity"
    return None


def _check_fingerprint(name: str, before: str | None, fingerprint: str | None) -> None:
    if None not in (before, fingerprint) and before != fingerprint:
        raise RunError(
            f"collection {name!r} holds vectors of embedder {before}, not of {fingerprint}: index "
            "into another collection"
        )


def _check_dimension(name: str, before: CollectionVersion, rows: Rows) -> None:
    found = {len(vector) for _, vector in rows.values()}
    if before.chunks:
        found.add(before.index.dimension)
    if len(found) > 1:
        raise RunError(
            f"collection {name!r} cannot hold vectors of dimensions "
            f"{', '.join(map(str, sorted(found)))} together: index into another collection"
        )
