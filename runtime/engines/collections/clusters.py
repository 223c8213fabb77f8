"""Search in clusters that are given: to find them FAISS rounds as the batch has it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from teola.runtime.engines.collections.nearest import Found, Places, Vector


def nearest_in(
    clusters: Sequence[Found], index: Any, rows: Vector, count: int, how: Any
) -> tuple[Vector, Places]:
    """Distances and positions ``(n, count)`` of the vectors nearest to ``rows`` ``(n, d)`` in the
    clusters that each is to look into."""
    import faiss

    at = np.array([[place for place, _ in one] for one in clusters], np.int64)
    away = np.array([[distance for _, distance in one] for one in clusters], np.float32)
    values = np.empty((len(rows), count), np.float32)
    places = np.empty((len(rows), count), np.int64)
    arrays = [faiss.swig_ptr(one) for one in (at, away, values, places)]
    index.search_preassigned_c(
        len(rows), faiss.swig_ptr(rows), count, *arrays, store_pairs=False, params=how
    )
    return values, places
