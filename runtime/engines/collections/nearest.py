"""The nearest vectors of many queries at once, to the last bit those of each query alone.

FAISS compares many queries with matrix products, and on a GPU, which round as the batch has it. So
it only proposes: what it finds, and some more, is compared again, pair by pair. Where rounding
could have kept a vector out, that query looks at all within the bound of the error.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np

Vector: TypeAlias = np.ndarray[Any, np.dtype[np.float32]]
Places: TypeAlias = np.ndarray[Any, np.dtype[np.int64]]
Found: TypeAlias = list[tuple[int, float]]
"""Positions with what FAISS calls distances, nearest first."""

SPARE = 8
"""How many more than are wanted are compared again."""
BLAS_NUMBERS = 6144
"""From so many numbers of all queries together on FAISS compares with matrix products: 16 queries
of 384 dimensions. FAISS before 1.15 counts queries (20), which is left as it is."""


def use_matrix_products() -> None:
    """Let FAISS compare batches of queries, not only hundreds, with matrix products."""
    import faiss

    faiss.cvar.distance_compute_blas_threshold = min(
        faiss.cvar.distance_compute_blas_threshold, BLAS_NUMBERS
    )


def nearest(
    flat: Any,
    queries: Vector,
    count: int,
    longest: float,
    *,
    proposer: Any = None,
    parameters: Any = None,
) -> list[Found]:
    """For each of ``queries`` ``(n, d)`` the ``count`` nearest vectors of a flat index, none of
    which is longer than ``longest``; of equally near ones the earlier. ``proposer``: another index
    of the same vectors, which is quicker."""
    wanted = min(count + SPARE, flat.ntotal)
    rough, places = (flat if proposer is None else proposer).search(
        queries, wanted, params=parameters
    )
    sign = np.float32(1 if _is_l2(flat) else -1)
    exact = sign * _compared(flat, queries, places)
    order = np.lexsort((places, exact), axis=-1)[:, :count]
    places_in_order = np.take_along_axis(places, order, 1)
    exact_in_order = np.take_along_axis(exact, order, 1)
    errors = _errors(flat, queries, longest)
    found = []
    for at, error in enumerate(errors):
        last, worst = places[at, -1], exact_in_order[at, -1]
        if wanted < flat.ntotal and last >= 0 and not worst + error < sign * rough[at, -1]:
            reach = sign * np.nextafter(np.float32(worst + error), np.float32(np.inf))
            found.append(_within(flat, queries[at : at + 1], count, float(reach), parameters))
            continue
        pairs = zip(places_in_order[at].tolist(), (sign * exact_in_order[at]).tolist(), strict=True)
        found.append([(place, value) for place, value in pairs if place >= 0])
    return found


def _within(flat: Any, query: Vector, count: int, reach: float, parameters: Any) -> Found:
    """The nearest of all that are as near as ``reach``."""
    _, _, places = flat.range_search(query, reach, params=parameters)
    values = _compared(flat, query, places[None, :])[0]
    best = np.lexsort((places, values if _is_l2(flat) else -values))[:count]
    return list(zip(places[best].tolist(), values[best].tolist(), strict=True))


def _compared(flat: Any, queries: Vector, places: Places) -> Vector:
    """Each query with each of its vectors, pair by pair: a pair always gives the same. Where there
    is no vector (-1): as far as can be."""
    import faiss

    there = np.maximum(places, 0)
    values = np.empty(places.shape, np.float32)
    if places.size:
        flat.compute_distance_subset(
            len(queries),
            faiss.swig_ptr(queries),
            places.shape[1],
            faiss.swig_ptr(values),
            faiss.swig_ptr(there),
        )
    values[places < 0] = np.inf if _is_l2(flat) else -np.inf
    return values


def _errors(flat: Any, queries: Vector, longest: float) -> Any:
    """By how much two ways to compare a query with a vector can differ, ``(n,)``: twice what the
    order of ``d`` additions in float32 does to sums of such products."""
    lengths = np.linalg.norm(queries.astype(np.float64), axis=1)
    sizes = (lengths + longest) ** 2 if _is_l2(flat) else lengths * longest
    return 2 * (flat.d + 4) * float(np.finfo(np.float32).eps) * sizes


def _is_l2(flat: Any) -> bool:
    import faiss

    return bool(flat.metric_type == faiss.METRIC_L2)
