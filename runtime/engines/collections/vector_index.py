"""Nearest neighbours in a FAISS index: the same in every batch, with ties in order."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any, cast

import numpy as np

from teola.runtime.engines.collections.clusters import nearest_in
from teola.runtime.engines.collections.faiss_index import empty, flat
from teola.runtime.engines.collections.gpu import GPU_COUNT, OnGpu, dispatcher
from teola.runtime.engines.collections.index_settings import EXACT_ROWS, IndexSettings
from teola.runtime.engines.collections.nearest import SPARE, Found, Places, Vector, nearest

PART = 65_536
"""Vectors that are looked at together."""
LONGER = 1.01
"""By how much rounding, and finding clusters, can make a vector longer."""


class VectorIndex:
    """Vectors of ``(n, d)`` float32, never changed; of nothing without ``index``.

    Scores are larger for nearer vectors: the cosine, the inner product, or minus the squared
    distance (``l2``). A flat index finds the nearest; the others may miss some.
    """

    def __init__(self, settings: IndexSettings, index: Any = None) -> None:
        self.settings = settings
        self._index = index

    @staticmethod
    def of(settings: IndexSettings, rows: Vector) -> VectorIndex:
        """The index of ``rows`` ``(n, d)``, as ``prepared`` gives them; equal for equal rows, for
        one thread fills it."""
        if not len(rows):
            return VectorIndex(settings)
        import faiss

        faiss.omp_set_num_threads(1)
        index = empty(settings, *rows.shape)
        if not index.is_trained:
            index.train(rows)
        index.add(rows)
        if settings.kind == "ivf":
            index.make_direct_map()
        return VectorIndex(settings, index)

    @staticmethod
    def load(settings: IndexSettings, path: Path) -> VectorIndex:
        """The index that a file holds."""
        import faiss

        return VectorIndex(settings, faiss.read_index(str(path)))

    def save(self, path: Path) -> None:
        """Write it to a file; not for one of nothing."""
        import faiss

        faiss.write_index(self._index, str(path))

    def extended(self, rows: Vector) -> VectorIndex:
        """The index with more ``rows``, as ``prepared`` gives them, behind those that it has."""
        if self._index is None or self.settings.kind != "hnsw":
            return VectorIndex.of(self.settings, np.concatenate([self.rows(rows.shape[1]), rows]))
        import faiss

        faiss.omp_set_num_threads(1)
        index = faiss.clone_index(self._index)
        index.add(rows)
        return VectorIndex(self.settings, index)

    def prepared(self, vectors: Vector) -> Vector:
        """``vectors`` ``(n, d)`` as the index holds them: with ``cosine`` at length 1."""
        unit = self.settings.metric == "cosine"
        return np.ascontiguousarray(_unit(vectors) if unit else vectors, np.float32)

    @property
    def dimension(self) -> int:
        """0 where there are no vectors."""
        return 0 if self._index is None else int(self._index.d)

    def rows(self, dimension: int = 0) -> Vector:
        """The vectors, ``(n, d)``, as ``prepared`` gave them."""
        if self._index is None:
            return np.empty((0, dimension), np.float32)
        rows: Vector = self._index.reconstruct_n(0, self._index.ntotal)
        return rows

    def nearest(
        self, queries: Vector, count: int, among: Places | None = None
    ) -> list[list[tuple[int, float]]]:
        """For each of ``queries`` ``(n, d)`` positions and scores of the ``count`` vectors nearest
        to it, best first; of equal scores the earlier position. ``among``: only of these positions,
        in order. A query finds the same in every batch."""
        if self._index is None or count < 1 or (among is not None and not len(among)):
            return [[] for _ in queries]
        rows, kind = self.prepared(queries), self.settings.kind
        if among is not None and kind != "flat" and len(among) <= EXACT_ROWS:
            few = flat(self.settings.metric, self.dimension)
            few.add(self._index.reconstruct_batch(among))
            found = nearest(few, rows, count, self._longest)
            found = [[(int(among[at]), value) for at, value in one] for one in found]
        elif kind == "flat":
            found = self._compared_all(rows, count, among)
        else:
            found = _as_found(*self._proposed(rows, min(count, self._index.ntotal), among))
        return [self._scored(one) for one in found]

    def _scored(self, found: Found) -> Found:
        """In order, with scores in place of what FAISS calls distances."""
        if self.settings.metric == "l2":
            found = [(place, 0.0 - distance) for place, distance in found]
        return sorted(found, key=lambda one: (-one[1], one[0]))

    def _compared_all(self, rows: Vector, count: int, among: Places | None) -> list[Found]:
        gpu = self._is_gpu(count + SPARE, among)
        return nearest(
            self._index,
            rows,
            count,
            self._longest,
            proposer=self._on_gpu if gpu else None,
            parameters=_only(among, self._index.ntotal),
        )

    def _proposed(self, rows: Vector, count: int, among: Places | None) -> tuple[Any, Any]:
        """What a graph or clusters find: distances and positions, ``(n, count)``."""
        import faiss

        only = _only(among, self._index.ntotal)
        some = {} if only is None else {"sel": only.sel}
        if self.settings.kind == "hnsw":
            width = max(self.settings.ef_search, count)
            how = faiss.SearchParametersHNSW(efSearch=width, **some)
            return cast("tuple[Any, Any]", self._index.search(rows, count, params=how))
        probes = min(self.settings.nprobe, self._index.nlist)
        how = faiss.SearchParametersIVF(nprobe=probes, **some)
        if self._is_gpu(count, among):
            return self._on_gpu.search(rows, count, how)
        clusters = nearest(self._quantizer, rows, probes, self._longest)
        return nearest_in(clusters, self._index, rows, count, how)

    def _is_gpu(self, count: int, among: Places | None) -> bool:
        return self.settings.gpu is not None and among is None and count <= GPU_COUNT

    @cached_property
    def _on_gpu(self) -> OnGpu:
        return OnGpu(self._index, dispatcher(self.settings.gpu or 0))

    @cached_property
    def _quantizer(self) -> Any:
        import faiss

        return faiss.downcast_index(self._index.quantizer)

    @cached_property
    def _longest(self) -> float:
        """The length of the longest vector, or more."""
        if self.settings.metric == "cosine":
            return LONGER
        parts = range(0, self._index.ntotal, PART)
        return LONGER * max(
            float(np.linalg.norm(part.astype(np.float64), axis=1).max())
            for part in (
                self._index.reconstruct_n(at, min(PART, self._index.ntotal - at)) for at in parts
            )
        )


def _only(among: Places | None, count: int) -> Any:
    """What makes FAISS search only these of ``count`` positions."""
    if among is None:
        return None
    import faiss

    mask = np.zeros(count, bool)
    mask[among] = True
    return faiss.SearchParameters(sel=faiss.IDSelectorBitmap(np.packbits(mask, bitorder="little")))


def _as_found(values: Vector, places: Places) -> list[Found]:
    """Fewer where there are not so many."""
    return [
        [(place, value) for place, value in zip(*one, strict=True) if place >= 0]
        for one in zip(places.tolist(), values.tolist(), strict=True)
    ]


def _unit(vectors: Vector) -> Vector:
    """``vectors`` ``(n, d)`` at length 1; zeros stay zeros."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.where(lengths == 0, 1, lengths), np.float32)
