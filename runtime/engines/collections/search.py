"""What a store does with one item: put it under a pending version, or search a version."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np

from teola.runtime.engines.collections.vector_index import Places, Vector
from teola.runtime.engines.collections.version import CollectionVersion, Row
from teola.runtime.engines.protocol import Failure

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


def _nearest(name: str, version: CollectionVersion, query: Any, top_k: int, among: Any) -> Found:
    row = np.array(query, np.float32)
    if problem := unusable(row):
        return Failure("item", f"the embedding to search with {problem}")
    if version.chunks and len(row) != version.index.dimension:
        return Failure(
            "item",
            f"the embedding has {len(row)} dimensions, collection {name!r} has "
            f"{version.index.dimension}: search with the embedder that indexed it",
        )
    return version.index.nearest(row, top_k, among)


def unsearchable(name: str, version: CollectionVersion, operation: str) -> str | None:
    """Why a collection cannot be searched so."""
    lacking = {"search": "keyword", "keyword_search": "dense"}[operation]
    if version.mode != lacking:
        return None
    what = "embeddings" if operation == "search" else "words"
    return f"collection {name!r} has the mode {lacking}: it cannot be searched by {what}"


def passages(
    name: str,
    version: CollectionVersion,
    operation: str,
    query: Any,
    common: Mapping[str, Any],
    among: Places | None,
) -> list[dict[str, Any]] | Failure:
    """What a query finds, best first; ``among``: only at these positions."""
    found: Found = (
        version.words.best(query, common["top_k"], among)
        if (operation == "keyword_search")
        else _nearest(name, version, query, common["top_k"], among)
    )
    if isinstance(found, Failure):
        return found
    least = common.get("min_score")
    return [
        {**version.chunks[place], "score": score, "rank": rank}
        for rank, (place, score) in enumerate(found, 1)
        if least is None or score >= least
    ]


def unusable(row: Vector) -> str | None:
    """Why an embedding cannot be compared with others."""
    if row.ndim != 1 or not len(row):
        return f"has shape {row.shape}, not (d,)"
    if not math.isfinite(float(row.sum())) and not np.isfinite(row).all():
        return "holds NaN or infinity"
    return None
