"""What a store does with items: put them under a pending version, or search a version."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np

from teola.runtime.engines.collections.nearest import Places, Vector
from teola.runtime.engines.collections.version import CollectionVersion, Row
from teola.runtime.engines.protocol import Failure, Request

Found: TypeAlias = "Sequence[tuple[int, float]] | Failure"


def add_row(rows: dict[str, Row], chunk: Mapping[str, Any], vector: Any) -> Failure | None:
    """Put a chunk, with its vector where it has one, among the pending rows."""
    row: Vector | None = None
    if vector is not None:
        row = np.array(vector, np.float32)
        if problem := unusable(row):
            return Failure("item", f"the embedding of chunk {chunk['id']!r} {problem}")
    _, first = next(iter(rows.values()), (None, row))
    if row is not None and first is not None and len(first) != len(row):
        return Failure(
            "item",
            f"the embedding of chunk {chunk['id']!r} has {len(row)} dimensions, those before it "
            f"{len(first)}",
        )
    rows.setdefault(chunk["id"], (chunk, row))
    return None


def unknown(name: str, names: Iterable[str]) -> str:
    """That there is no collection ``name``, but those of ``names``."""
    known = ", ".join(map(repr, names))
    return f"there is no collection {name!r}" + (f": there are {known}" if known else "")


def unsearchable(name: str, mode: str | None, operation: str) -> str | None:
    """Why a collection of a mode cannot be searched so."""
    lacking = {"search": "keyword", "keyword_search": "dense"}[operation]
    if mode != lacking:
        return None
    what = "embeddings" if operation == "search" else "words"
    return f"collection {name!r} has the mode {lacking}: it cannot be searched by {what}"


def passages(
    name: str, version: CollectionVersion, request: Request, among: Places | None
) -> list[list[dict[str, Any]] | Failure]:
    """What each query finds, best first; ``among``: only at these positions."""
    common = request.common
    found: Sequence[Found]
    if request.operation == "keyword_search":
        found = [version.words.best(one, common["top_k"], among) for one in request.items]
    else:
        found = _nearest(name, version, request.items, common["top_k"], among)
    least = common.get("min_score")
    return [
        one
        if isinstance(one, Failure)
        else [
            {**version.chunks[place], "score": score, "rank": rank}
            for rank, (place, score) in enumerate(one, 1)
            if least is None or score >= least
        ]
        for one in found
    ]


def _nearest(
    name: str, version: CollectionVersion, queries: Sequence[Any], top_k: int, among: Places | None
) -> list[Found]:
    """All queries in one search; those that cannot be compared fail alone."""
    dimension = version.index.dimension if version.chunks else None
    rows = [np.array(query, np.float32) for query in queries]
    found: list[Found] = [unlike(name, row, dimension) or [] for row in rows]
    usable = [at for at, one in enumerate(found) if not isinstance(one, Failure)]
    if usable and dimension:
        several = np.stack([rows[at] for at in usable])
        for at, one in zip(usable, version.index.nearest(several, top_k, among), strict=True):
            found[at] = one
    return found


def unlike(name: str, query: Any, dimension: int | None) -> Failure | None:
    """Why an embedding cannot be searched with; ``dimension``: the collection's, None for any."""
    if problem := unusable(query):
        return Failure("item", f"the embedding to search with {problem}")
    if dimension is not None and len(query) != dimension:
        return Failure(
            "item",
            f"the embedding has {len(query)} dimensions, collection {name!r} has {dimension}: "
            "search with the embedder that indexed it",
        )
    return None


def unusable(row: Vector) -> str | None:
    """Why an embedding cannot be compared with others."""
    if row.ndim != 1 or not len(row):
        return f"has shape {row.shape}, not (d,)"
    if not math.isfinite(float(row.sum())) and not np.isfinite(row).all():
        return "holds NaN or infinity"
    return None
