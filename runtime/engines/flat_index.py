"""Exact nearest neighbours, the same in every batch and with ties in order."""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

import numpy as np

Metric: TypeAlias = Literal["cosine", "inner_product", "l2"]
Vector: TypeAlias = np.ndarray[Any, np.dtype[np.float32]]


class FlatIndex:
    """``vectors`` of shape ``(n, d)`` float32 in a flat FAISS index.

    Scores are larger for nearer vectors: the cosine, the inner product, or minus the squared
    distance (``l2``).
    """

    def __init__(self, metric: Metric, vectors: Vector | None = None) -> None:
        self.metric = metric
        self._index: Any = None
        if vectors is not None and len(vectors):
            self._index = self._filled(_unit(vectors) if metric == "cosine" else vectors)

    def _filled(self, vectors: Vector) -> Any:
        import faiss

        flat = faiss.IndexFlatL2 if self.metric == "l2" else faiss.IndexFlatIP
        index = flat(vectors.shape[1])
        index.add(np.ascontiguousarray(vectors))
        return index

    @property
    def dimension(self) -> int:
        """0 where there are no vectors."""
        return 0 if self._index is None else int(self._index.d)

    def rows(self) -> Vector:
        """The vectors, ``(n, d)``; with ``cosine`` at length 1."""
        if self._index is None:
            return np.empty((0, 0), np.float32)
        rows: Vector = self._index.reconstruct_n(0, self._index.ntotal)
        return rows

    def nearest(self, query: Vector, count: int) -> list[tuple[int, float]]:
        """Positions and scores of the ``count`` vectors nearest to ``query`` ``(d,)``, best first;
        of equal scores the earlier position.

        One query at a time: for 20 and more FAISS computes with matrix products, which round
        differently.
        """
        if self._index is None or count < 1:
            return []
        asked = query[None, :]
        row = _unit(asked) if self.metric == "cosine" else asked
        # FAISS keeps any of several equal scores: one more shows whether that happened.
        values, places = self._index.search(row, min(count + 1, self._index.ntotal))
        if len(places[0]) > count and values[0][-1] == values[0][-2]:
            values, places = self._reaching(row, values[0][-1])
        scores = 0.0 - values[0] if self.metric == "l2" else values[0]
        pairs = zip(places[0].tolist(), scores.tolist(), strict=True)
        return sorted(pairs, key=lambda pair: (-pair[1], pair[0]))[:count]

    def _reaching(self, row: Vector, value: np.float32) -> tuple[list[Vector], list[Any]]:
        """All vectors at least as near as ``value`` says."""
        worse = np.float32(np.inf if self.metric == "l2" else -np.inf)
        _, values, places = self._index.range_search(row, float(np.nextafter(value, worse)))
        return [values], [places]


def _unit(vectors: Vector) -> Vector:
    """``vectors`` ``(n, d)`` at length 1; zeros stay zeros."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.where(lengths == 0, 1, lengths), np.float32)
