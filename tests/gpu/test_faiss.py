"""FAISS's indexes on a GPU; they need faiss-gpu in the place of faiss-cpu."""

import faiss
import numpy as np
import pytest

from teola.runtime.engines.collections.gpu import GPU_COUNT, dispatcher
from teola.runtime.engines.collections.index_settings import IndexSettings
from teola.runtime.engines.collections.vector_index import VectorIndex
from tests.engines.test_vector_index import clustered, index_of


@pytest.fixture(scope="module", autouse=True)
def _started(cuda):
    if not hasattr(faiss, "StandardGpuResources"):
        pytest.skip("this FAISS is for CPUs only: pip install faiss-gpu, in place of faiss-cpu")
    dispatcher(0).start()


def on_gpu(index):
    settings = index.settings
    return VectorIndex(IndexSettings(settings.kind, settings.metric, device="cuda"), index._index)


@pytest.mark.parametrize("metric", ["cosine", "inner_product", "l2"])
@pytest.mark.parametrize("count", [1, 10, 500, GPU_COUNT])
def test_a_flat_index_finds_what_it_finds_on_a_cpu(metric, count):
    """To the last bit, alone and together, ties among them."""
    rows, queries = clustered(20_000, dimension=384)
    rows[1000:1020] = rows[0]
    index = index_of(rows, metric=metric)
    there = on_gpu(index)
    found = there.nearest(queries, count)
    assert found == index.nearest(queries, count)
    assert found[:5] == [there.nearest(query[None, :], count)[0] for query in queries[:5]]


@pytest.mark.parametrize("metric", ["cosine", "inner_product", "l2"])
def test_clusters_find_nearly_what_they_find_on_a_cpu(metric):
    rows, queries = clustered(50_000, dimension=384)
    index = index_of(rows, "ivf", metric)
    there, here = on_gpu(index).nearest(queries, 10), index.nearest(queries, 10)
    shares = [len(dict(a).keys() & dict(b).keys()) / 10 for a, b in zip(there, here, strict=True)]
    assert np.mean(shares) > 0.99
    for one, other in zip(there, here, strict=True):
        assert one[0][1] == pytest.approx(other[0][1], rel=1e-4, abs=1e-5)


def test_a_published_version_takes_the_place_of_the_one_before():
    """Copies that nobody holds any more leave the GPU."""
    rows, queries = clustered(200_000, dimension=384)
    for start in range(40):
        index = index_of(rows[start:])
        assert on_gpu(index).nearest(queries[:1], 3) == index.nearest(queries[:1], 3)
