"""One published state of a collection."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from teola.runtime.engines.flat_index import FlatIndex, Vector

Chunk: TypeAlias = Mapping[str, Any]

__all__ = ["Chunk", "CollectionVersion", "Vector", "in_order"]


@dataclass(frozen=True, slots=True)
class CollectionVersion:
    """Chunks and, at the same positions, their vectors; never changed."""

    index: FlatIndex
    chunks: tuple[Chunk, ...] = ()
    fingerprint: str | None = None

    def replaced(
        self,
        rows: Sequence[tuple[Chunk, Vector]],
        fingerprint: str | None,
        documents: Sequence[str] = (),
    ) -> CollectionVersion:
        """The next version: documents in ``rows``, and those that ``documents`` names, replace what
        is here of them.

        A document whose chunks are all here already, and no others, stays where it is.
        """
        changed = self._changed(rows, documents)
        kept = [
            place for place, chunk in enumerate(self.chunks) if chunk["document"] not in changed
        ]
        new = [(chunk, vector) for chunk, vector in rows if chunk["document"] in changed]
        fingerprint = self.fingerprint or fingerprint
        if not changed:
            return CollectionVersion(self.index, self.chunks, fingerprint)
        chunks = [*(self.chunks[place] for place in kept), *(chunk for chunk, _ in new)]
        vectors = [*self.index.rows()[kept], *(vector for _, vector in new)]
        index = FlatIndex(self.index.metric, np.array(vectors, np.float32))
        return CollectionVersion(index, tuple(chunks), fingerprint)

    def _changed(self, rows: Sequence[tuple[Chunk, Vector]], documents: Sequence[str]) -> set[str]:
        """The documents of which there are other chunks here than in ``rows``."""
        here, there = _by_document(self.chunks), _by_document([chunk for chunk, _ in rows])
        named = {*there, *documents}
        return {one for one in named if here.get(one, []) != there.get(one, [])}

    def describe(self) -> dict[str, Any]:
        """How many chunks, of which dimension (0: none yet), made by which embedder."""
        return {
            "count": len(self.chunks),
            "dimension": self.index.dimension,
            "fingerprint": self.fingerprint,
        }


def in_order(rows: Iterable[tuple[Chunk, Vector]]) -> list[tuple[Chunk, Vector]]:
    """Rows that came group by group, perhaps some of them again, in the order of their documents
    and places: which of two equally near chunks is found first is no matter of timing."""
    return sorted(rows, key=lambda row: _place(row[0]))


def _place(chunk: Chunk) -> tuple[str, int, str]:
    return chunk["document"], chunk.get("index") or 0, chunk["id"]


def _by_document(chunks: Sequence[Chunk]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for chunk in chunks:
        found.setdefault(chunk["document"], []).append(chunk["id"])
    return found
