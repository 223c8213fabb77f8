"""The flat index gives what sorting all similarities gives."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from teola.runtime.engines.flat_index import FlatIndex

SMALL_NUMBERS = st.integers(-2, 2).map(np.float32)


def expected(vectors, query, count, metric):
    """Whole numbers: both ways of computing are exact."""
    scores = vectors @ query if metric == "inner_product" else -((vectors - query) ** 2).sum(1)
    order = sorted(range(len(vectors)), key=lambda place: (-scores[place], place))
    return [(place, float(scores[place])) for place in order[:count]]


@pytest.mark.parametrize("metric", ["inner_product", "l2"])
@given(
    vectors=arrays.arrays(
        np.float32, st.tuples(st.integers(1, 30), st.just(3)), elements=SMALL_NUMBERS
    ),
    query=arrays.arrays(np.float32, 3, elements=SMALL_NUMBERS),
    count=st.integers(0, 35),
)
def test_ties_come_in_order_for_every_count(metric, vectors, query, count):
    assert FlatIndex(metric, vectors).nearest(query, count) == expected(
        vectors, query, count, metric
    )


@pytest.mark.parametrize("count", [1, 5, 99, 100, 150, 400])
def test_many_equal_rows_come_in_order(count):
    vectors = np.tile(np.array([[3.0, 4.0], [0.6, 0.8]], np.float32), (150, 1))
    places = [place for place, _ in FlatIndex("inner_product", vectors).nearest(vectors[0], count)]
    in_order = [*range(0, 300, 2), *range(1, 300, 2)]
    assert places == in_order[:count]


def test_an_index_of_nothing_has_no_neighbours():
    index = FlatIndex("cosine")
    assert (index.dimension, index.nearest(np.ones(3, np.float32), 5)) == (0, [])
    assert index.rows().shape == (0, 0)
