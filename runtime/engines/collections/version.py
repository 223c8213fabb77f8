"""One published state of a collection."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, TypeAlias

import numpy as np

from teola.runtime.engines.collections.keyword_index import KeywordIndex, searched_text
from teola.runtime.engines.collections.metadata import Metadata
from teola.runtime.engines.collections.nearest import Vector
from teola.runtime.engines.collections.vector_index import VectorIndex
from teola.runtime.errors import RunError

Chunk: TypeAlias = Mapping[str, Any]
Mode: TypeAlias = Literal["dense", "keyword", "hybrid"]
Row: TypeAlias = tuple[Chunk, Vector | None]

__all__ = ["Change", "Chunk", "CollectionVersion", "Mode", "Row", "in_order"]


@dataclass(frozen=True, slots=True)
class Change:
    """What a publication brings: ``rows`` in order, and the ``documents`` that it replaces even
    where there are no rows of them."""

    rows: Sequence[Row]
    documents: Sequence[str] = ()
    fingerprint: str | None = None
    mode: Mode = "dense"


@dataclass(frozen=True)
class CollectionVersion:
    """Chunks and, at the same positions, their vectors and words, as the mode has it; never
    changed."""

    index: VectorIndex
    words: KeywordIndex
    chunks: tuple[Chunk, ...] = ()
    fingerprint: str | None = None
    mode: Mode | None = None

    @cached_property
    def metadata(self) -> Metadata:
        """What its chunks say of themselves."""
        return Metadata(self.chunks)

    def changed(self, name: str, change: Change) -> CollectionVersion:
        """The next version: documents in the change replace what is here of them.

        A document whose chunks are all here already, and no others, stays where it is.

        Raises:
            RunError: the change does not go into the collection ``name``.
        """
        self._check(name, change)
        fingerprint, mode = self.fingerprint or change.fingerprint, self.mode or change.mode
        changed = self._differing(change)
        if not changed:
            return CollectionVersion(self.index, self.words, self.chunks, fingerprint, mode)
        kept = [at for at, chunk in enumerate(self.chunks) if chunk["document"] not in changed]
        new = [row for row in change.rows if row[0]["document"] in changed]
        chunks = (*(self.chunks[at] for at in kept), *(chunk for chunk, _ in new))
        index, words = self.index, self.words
        if mode != "keyword":
            index = self._index(kept, [vector for _, vector in new if vector is not None])
        if mode != "dense":
            words = KeywordIndex.of(words.language, map(searched_text, chunks))
        return CollectionVersion(index, words, chunks, fingerprint, mode)

    def _index(self, kept: Sequence[int], vectors: Sequence[Vector]) -> VectorIndex:
        dimension = self.index.dimension or len(vectors[0])
        rows = self.index.prepared(np.array(vectors, np.float32).reshape(-1, dimension))
        if len(kept) == len(self.chunks):
            return self.index.extended(rows)
        return VectorIndex.of(
            self.index.settings, np.concatenate([self.index.rows(dimension)[kept], rows])
        )

    def _differing(self, change: Change) -> set[str]:
        """The documents of which there are other chunks here than in the change."""
        here, there = _by_document(self.chunks), _by_document([chunk for chunk, _ in change.rows])
        named = {*there, *change.documents}
        return {one for one in named if here.get(one, []) != there.get(one, [])}

    def _check(self, name: str, change: Change) -> None:
        if self.mode not in (None, change.mode):
            raise RunError(
                f"collection {name!r} has the mode {self.mode}, not {change.mode}: index into "
                "another collection"
            )
        if None not in (self.fingerprint, change.fingerprint) and (
            self.fingerprint != change.fingerprint
        ):
            raise RunError(
                f"collection {name!r} holds vectors of embedder {self.fingerprint}, not of "
                f"{change.fingerprint}: index into another collection"
            )
        found = {0 if vector is None else len(vector) for _, vector in change.rows}
        if change.mode != "keyword" and 0 in found:
            raise RunError(f"collection {name!r} has the mode {change.mode}: embed its chunks")
        if self.index.dimension:
            found.add(self.index.dimension)
        if len(found) > 1:
            raise RunError(
                f"collection {name!r} cannot hold vectors of dimensions "
                f"{', '.join(map(str, sorted(found)))} together: index into another collection"
            )

    def describe(self) -> dict[str, Any]:
        """How many chunks, of which dimension (0: none yet), made by which embedder."""
        return {
            "count": len(self.chunks),
            "dimension": self.index.dimension,
            "fingerprint": self.fingerprint,
        }


def in_order(rows: Iterable[Row]) -> list[Row]:
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
