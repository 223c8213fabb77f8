"""Nearest neighbours in a FAISS index: the same in every batch, with ties in order."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from math import sqrt
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np

Metric: TypeAlias = Literal["cosine", "inner_product", "l2"]
Vector: TypeAlias = np.ndarray[Any, np.dtype[np.float32]]
Places: TypeAlias = np.ndarray[Any, np.dtype[np.int64]]

EXACT_ROWS = 4096
"""So few vectors are all compared, whatever the index: a graph or clusters would miss most."""
GPU_COUNT = 2047
"""Neighbours that FAISS finds on a GPU, less one."""
CLUSTER_ROWS = 39
"""Vectors that FAISS wants for each cluster."""


@dataclass(frozen=True, slots=True)
class IndexSettings:
    """What an index is, and how it is searched. ``nlist``: None is as many clusters as four times
    the root of the number of vectors, as FAISS's guidelines have it."""

    kind: Literal["flat", "hnsw", "ivf"] = "flat"
    metric: Metric = "cosine"
    m: int = 32
    ef_construction: int = 200
    ef_search: int = 64
    nlist: int | None = None
    nprobe: int = 16
    device: Literal["cpu", "cuda"] = "cpu"

    @staticmethod
    def of(config: Mapping[str, Any]) -> IndexSettings:
        """Those of an engine."""
        names = ("metric", "m", "ef_construction", "ef_search", "nlist", "nprobe", "device")
        given = {name: config[name] for name in names if config.get(name) is not None}
        return IndexSettings(config.get("index") or "flat", **given)

    def fixed(self) -> dict[str, Any]:
        """What cannot change once there are vectors in the index, as JSON data."""
        parameters: Mapping[str, dict[str, Any]] = {
            "flat": {},
            "hnsw": {"m": self.m, "ef_construction": self.ef_construction},
            "ivf": {"nlist": self.nlist},
        }
        return {"index": self.kind, "metric": self.metric, **parameters[self.kind]}


class VectorIndex:
    """Vectors of ``(n, d)`` float32, never changed; of nothing without ``index``.

    Scores are larger for nearer vectors: the cosine, the inner product, or minus the squared
    distance (``l2``). A flat index finds the nearest; the others may miss some.
    """

    def __init__(self, settings: IndexSettings, index: Any = None) -> None:
        self.settings = settings
        self._index = index
        self._on_gpu: Any = None

    @staticmethod
    def of(settings: IndexSettings, rows: Vector) -> VectorIndex:
        """The index of ``rows`` ``(n, d)``, as ``prepared`` gives them; equal for equal rows, for
        one thread fills it."""
        if not len(rows):
            return VectorIndex(settings)
        import faiss

        faiss.omp_set_num_threads(1)
        index = _empty(settings, *rows.shape)
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
        self, query: Vector, count: int, among: Places | None = None
    ) -> list[tuple[int, float]]:
        """Positions and scores of the ``count`` vectors nearest to ``query`` ``(d,)``, best first;
        of equal scores the earlier position. ``among``: only of these positions, in order.

        One query at a time: for 20 and more FAISS computes with matrix products, which round
        differently.
        """
        if self._index is None or count < 1 or (among is not None and not len(among)):
            return []
        row, metric = self.prepared(query[None, :]), self.settings.metric
        if among is not None and self.settings.kind != "flat" and len(among) <= EXACT_ROWS:
            few = _empty(IndexSettings(metric=metric), len(among), self.dimension)
            few.add(self._index.reconstruct_batch(among))
            return [(int(among[at]), score) for at, score in _exact(few, metric, row, count)]
        if self.settings.device == "cuda" and among is None and count <= GPU_COUNT:
            pairs = _search(self._gpu_index(), row, count + 1, self._parameters(None))
            if len(pairs) <= count or pairs[-1][1] != pairs[-2][1]:
                return _ranked(pairs, metric, count)
        parameters = self._parameters(among)
        if self.settings.kind == "flat":
            return _exact(self._index, metric, row, count, parameters)
        return _ranked(_search(self._index, row, count, parameters), metric, count)

    def _parameters(self, among: Places | None) -> Any:
        """How the index is searched: what FAISS calls parameters."""
        import faiss

        some = {}
        if among is not None:
            mask = np.zeros(self._index.ntotal, bool)
            mask[among] = True
            some["sel"] = faiss.IDSelectorBitmap(np.packbits(mask, bitorder="little"))
        if self.settings.kind == "hnsw":
            return faiss.SearchParametersHNSW(efSearch=self.settings.ef_search, **some)
        if self.settings.kind == "ivf":
            return faiss.SearchParametersIVF(nprobe=self.settings.nprobe, **some)
        return faiss.SearchParameters(**some) if some else None

    def _gpu_index(self) -> Any:
        """A copy on the GPU, made when it is first needed, by the one thread that searches."""
        import faiss

        if self._on_gpu is None:
            self._on_gpu = faiss.index_cpu_to_gpu(gpu_resources(), 0, self._index)
        return self._on_gpu


def _search(index: Any, row: Vector, count: int, parameters: Any) -> list[tuple[int, float]]:
    """Places and what FAISS calls distances, nearest first; fewer where there are not so many."""
    values, places = index.search(row, min(count, index.ntotal), params=parameters)
    pairs = zip(places[0].tolist(), values[0].tolist(), strict=True)
    return [(place, value) for place, value in pairs if place >= 0]


def _exact(
    index: Any, metric: Metric, row: Vector, count: int, parameters: Any = None
) -> list[tuple[int, float]]:
    """The nearest in a flat index. FAISS keeps any of several equal scores: one more shows whether
    that happened, and all that are as near are then looked at."""
    pairs = _search(index, row, count + 1, parameters)
    if len(pairs) > count and pairs[-1][1] == pairs[-2][1]:
        worse = np.float32(np.inf if metric == "l2" else -np.inf)
        reach = float(np.nextafter(np.float32(pairs[-1][1]), worse))
        _, values, places = index.range_search(row, reach, params=parameters)
        pairs = list(zip(places.tolist(), values.tolist(), strict=True))
    return _ranked(pairs, metric, count)


def _ranked(pairs: list[tuple[int, float]], metric: Metric, count: int) -> list[tuple[int, float]]:
    """The best ``count``, with scores in place of what FAISS calls distances."""
    if metric == "l2":
        pairs = [(place, 0.0 - distance) for place, distance in pairs]
    return sorted(pairs, key=lambda pair: (-pair[1], pair[0]))[:count]


def _empty(settings: IndexSettings, count: int, dimension: int) -> Any:
    """An index that ``count`` vectors of ``(dimension,)`` are to fill."""
    import faiss

    l2 = settings.metric == "l2"
    metric = faiss.METRIC_L2 if l2 else faiss.METRIC_INNER_PRODUCT
    flat = faiss.IndexFlatL2(dimension) if l2 else faiss.IndexFlatIP(dimension)
    if settings.kind == "hnsw":
        graph = faiss.IndexHNSWFlat(dimension, settings.m, metric)
        graph.hnsw.efConstruction = settings.ef_construction
        return graph
    if settings.kind == "ivf":
        clusters = min(settings.nlist or round(4 * sqrt(count)), max(1, count // CLUSTER_ROWS))
        index = faiss.IndexIVFFlat(flat, dimension, clusters, metric)
        index.cp.min_points_per_centroid = 1  # few vectors are one cluster, without a warning
        return index
    return flat


@cache
def gpu_resources() -> Any:
    """What FAISS shares among all that is on the GPU.

    Raises:
        AttributeError: this FAISS knows no GPU.
    """
    import faiss

    return faiss.StandardGpuResources()


def _unit(vectors: Vector) -> Vector:
    """``vectors`` ``(n, d)`` at length 1; zeros stay zeros."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.where(lengths == 0, 1, lengths), np.float32)
