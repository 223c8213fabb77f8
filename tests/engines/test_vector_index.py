"""A flat index gives what sorting all similarities gives; the others nearly that, and quicker."""

import faiss
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from teola.runtime.engines.collections.index_settings import EXACT_ROWS, IndexSettings
from teola.runtime.engines.collections.nearest import use_matrix_products
from teola.runtime.engines.collections.vector_index import VectorIndex

KINDS = ("flat", "hnsw", "ivf")
SMALL_NUMBERS = st.integers(-2, 2).map(np.float32)


def expected(vectors, query, count, metric, among=None):
    """Whole numbers: both ways of computing are exact."""
    scores = vectors @ query if metric == "inner_product" else -((vectors - query) ** 2).sum(1)
    places = range(len(vectors)) if among is None else among
    order = sorted(places, key=lambda place: (-scores[place], place))
    return [(place, float(scores[place])) for place in order[:count]]


def index_of(vectors, kind="flat", metric="cosine", **settings):
    empty = VectorIndex(IndexSettings(kind, metric, **settings))
    return VectorIndex.of(empty.settings, empty.prepared(np.asarray(vectors, np.float32)))


def clustered(count, dimension=24, seed=1):
    """Vectors in some clusters, and queries near to some of them."""
    numbers = np.random.default_rng(seed)
    centres = numbers.standard_normal((40, dimension))
    rows = centres[numbers.integers(40, size=count)]
    rows = rows + 0.3 * numbers.standard_normal((count, dimension))
    queries = rows[:50] + 0.1 * numbers.standard_normal((50, dimension))
    return rows.astype(np.float32), queries.astype(np.float32)


def nearest(index, query, count, among=None):
    """What one query finds, alone."""
    (found,) = index.nearest(np.asarray(query)[None, :], count, among)
    return found


def recall(index, exact, queries, count=10, among=None):
    found = [{at for at, _ in one} for one in index.nearest(queries, count, among)]
    right = [{at for at, _ in one} for one in exact.nearest(queries, count, among)]
    return np.mean([len(a & b) / len(b) for a, b in zip(found, right, strict=True)])


@pytest.mark.parametrize("metric", ["inner_product", "l2"])
@given(
    vectors=arrays.arrays(
        np.float32, st.tuples(st.integers(1, 30), st.just(3)), elements=SMALL_NUMBERS
    ),
    query=arrays.arrays(np.float32, 3, elements=SMALL_NUMBERS),
    count=st.integers(0, 35),
    data=st.data(),
)
def test_ties_come_in_order_for_every_count(metric, vectors, query, count, data):
    index = index_of(vectors, metric=metric)
    assert nearest(index, query, count) == expected(vectors, query, count, metric)
    among = data.draw(st.lists(st.integers(0, len(vectors) - 1), unique=True).map(sorted))
    assert nearest(index, query, count, np.array(among, np.int64)) == expected(
        vectors, query, count, metric, among
    )


@pytest.mark.parametrize("kind", ["hnsw", "ivf"])
@given(
    vectors=arrays.arrays(
        np.float32, st.tuples(st.integers(1, 60), st.just(3)), elements=SMALL_NUMBERS
    ),
    query=arrays.arrays(np.float32, 3, elements=SMALL_NUMBERS),
    data=st.data(),
)
def test_among_few_places_every_index_is_exact(kind, vectors, query, data):
    among = data.draw(st.lists(st.integers(0, len(vectors) - 1), unique=True).map(sorted))
    found = nearest(index_of(vectors, kind, "l2"), query, 5, np.array(among, np.int64))
    assert found == expected(vectors, query, 5, "l2", among)


@pytest.mark.parametrize("count", [1, 5, 99, 100, 150, 400])
def test_many_equal_rows_come_in_order(count):
    vectors = np.tile(np.array([[3.0, 4.0], [0.6, 0.8]], np.float32), (150, 1))
    index = index_of(vectors, metric="inner_product")
    places = [place for place, _ in nearest(index, vectors[0], count)]
    in_order = [*range(0, 300, 2), *range(1, 300, 2)]
    assert places == in_order[:count]


@pytest.mark.parametrize("kind", KINDS)
def test_an_index_of_nothing_has_no_neighbours(kind):
    index = VectorIndex(IndexSettings(kind))
    assert (index.dimension, nearest(index, np.ones(3, np.float32), 5)) == (0, [])
    assert index.rows().shape == (0, 0)


@pytest.mark.parametrize("metric", ["cosine", "inner_product", "l2"])
@pytest.mark.parametrize("kind", ["hnsw", "ivf"])
def test_approximate_indexes_find_nearly_all(kind, metric):
    rows, queries = clustered(6000)
    index, exact = index_of(rows, kind, metric), index_of(rows, "flat", metric)
    assert recall(index, exact, queries) >= 0.95
    (best, score), *_ = nearest(index, queries[0], 3)
    assert dict(nearest(exact, queries[0], 10))[best] == pytest.approx(score, rel=1e-4, abs=1e-5)


@pytest.mark.parametrize("metric", ["cosine", "l2"])
def test_a_graph_finds_nearly_as_many_as_are_wanted(metric):
    """Though that is many more than it looks at otherwise."""
    rows = np.random.default_rng(5).standard_normal((1500, 12), dtype=np.float32)
    index, exact = (index_of(rows, kind, metric) for kind in ("hnsw", "flat"))
    assert recall(index, exact, rows[:5], 1000) > 0.99


@pytest.mark.parametrize("kind", ["hnsw", "ivf"])
def test_approximate_indexes_find_nearly_all_among_many_places(kind):
    rows, queries = clustered(12_000)
    among = np.arange(0, len(rows), 2)
    assert len(among) > EXACT_ROWS
    index, exact = index_of(rows, kind), index_of(rows)
    assert recall(index, exact, queries, among=among) >= 0.95
    assert all(at % 2 == 0 for at, _ in nearest(index, queries[0], 50, among))


@pytest.mark.parametrize("kind", KINDS)
def test_an_index_depends_on_nothing_but_its_rows(kind, tmp_path):
    """Made twice, or read from a file, it finds the same with the same scores."""
    rows, queries = clustered(3000)
    index = index_of(rows, kind)
    index.save(tmp_path / "index")
    loaded = VectorIndex.load(index.settings, tmp_path / "index")
    for query in queries:
        found = nearest(index, query, 10)
        assert found == nearest(index_of(rows, kind), query, 10) == nearest(loaded, query, 10)
    few = np.array([5, 17, 2999])
    assert nearest(index, queries[0], 2, few) == nearest(loaded, queries[0], 2, few)
    assert np.array_equal(index.rows(), loaded.rows())


@pytest.mark.parametrize("kind", KINDS)
def test_an_extended_index_has_all_and_leaves_the_old_one(kind):
    rows, queries = clustered(2000)
    old = index_of(rows[:1500], kind)
    before = nearest(old, queries[0], 10)
    new = old.extended(old.prepared(rows[1500:]))
    assert (len(old.rows()), len(new.rows())) == (1500, 2000)
    assert nearest(old, queries[0], 10) == before
    assert np.array_equal(new.rows(), index_of(rows).rows())
    assert recall(new, index_of(rows), queries) >= 0.95


def test_few_rows_are_few_clusters():
    """More clusters are asked for than the rows allow."""
    rows, _ = clustered(50)
    index = index_of(rows, "ivf", nlist=1000)
    assert [at for at, _ in nearest(index, rows[7], 1)] == [7]
    assert len(nearest(index, rows[7], 50)) == 50


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("metric", ["cosine", "inner_product", "l2"])
@pytest.mark.parametrize("amount", [2, 16, 40, 300])
def test_a_batch_finds_what_each_of_its_queries_finds_alone(kind, metric, amount):
    """Matrix products round otherwise, of which nothing is to be seen."""
    use_matrix_products()
    rows, _ = clustered(5000, dimension=384)
    rows[100:200] = rows[:100]
    rows[200:260] = rows[0]
    queries = np.concatenate([rows[:20], rows[:280] * 1.5 + 0.01])[:amount]
    index = index_of(rows, kind, metric)
    few = np.arange(0, 5000, 3)
    for count, among in ((1, None), (10, None), (150, None), (10, few)):
        together = index.nearest(queries, count, among)
        assert together == [nearest(index, query, count, among) for query in queries]
    if kind == "flat":
        assert together == [alone(index, query, 10, few) for query in queries]


def alone(index, query, count, among):
    """What FAISS finds by itself for one query, with all that are equally near, in order."""
    rows = index.rows()[among]
    flat = faiss.IndexFlatL2 if index.settings.metric == "l2" else faiss.IndexFlatIP
    one = flat(rows.shape[1])
    one.add(rows)
    values, places = one.search(index.prepared(query[None, :]), len(rows))
    if index.settings.metric == "l2":
        values = 0 - values
    pairs = zip(among[places[0]].tolist(), values[0].tolist(), strict=True)
    return sorted(pairs, key=lambda pair: (-pair[1], pair[0]))[:count]


@given(
    vectors=arrays.arrays(
        np.float32, st.tuples(st.integers(1, 60), st.just(40)), elements=st.floats(-3, 3, width=32)
    ),
    data=st.data(),
    metric=st.sampled_from(["cosine", "inner_product", "l2"]),
    kind=st.sampled_from(KINDS),
    count=st.integers(1, 12),
)
def test_any_batch_finds_what_its_queries_find_alone(vectors, data, metric, kind, count):
    use_matrix_products()
    picks = st.lists(st.integers(0, len(vectors) - 1), min_size=1, max_size=200)
    queries = vectors[data.draw(picks)] + np.float32(data.draw(st.sampled_from([0, 0.5])))
    index = index_of(vectors, kind, metric)
    together = index.nearest(queries, count)
    assert together == [nearest(index, query, count) for query in queries]
