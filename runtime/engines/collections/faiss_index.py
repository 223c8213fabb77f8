"""Indexes of FAISS that vectors are to fill."""

from __future__ import annotations

from math import sqrt
from typing import Any

from teola.runtime.engines.collections.index_settings import IndexSettings, Metric

CLUSTER_ROWS = 39
"""Vectors that FAISS wants for each cluster."""
TRAINING_ROWS = 64
"""Vectors of a cluster that are looked at to find where it is. FAISS would take 256, with which a
million train four times as long; with these recall@10 is 0.98 (``benchmarks/indexes.py``)."""


def empty(settings: IndexSettings, count: int, dimension: int) -> Any:
    """An index that ``count`` vectors of ``(dimension,)`` are to fill."""
    import faiss

    exact = flat(settings.metric, dimension)
    if settings.kind == "hnsw":
        graph = faiss.IndexHNSWFlat(dimension, settings.m, exact.metric_type)
        graph.hnsw.efConstruction = settings.ef_construction
        return graph
    if settings.kind == "ivf":
        clusters = min(settings.nlist or round(4 * sqrt(count)), max(1, count // CLUSTER_ROWS))
        index = faiss.IndexIVFFlat(exact, dimension, clusters, exact.metric_type)
        index.cp.min_points_per_centroid = 1  # few vectors are one cluster, without a warning
        index.cp.max_points_per_centroid = TRAINING_ROWS
        return index
    return exact


def flat(metric: Metric, dimension: int) -> Any:
    """One that compares all."""
    import faiss

    return faiss.IndexFlatL2(dimension) if metric == "l2" else faiss.IndexFlatIP(dimension)
