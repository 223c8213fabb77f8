"""Indexes on a GPU, of which a stand-in has the faults: it rounds, and minds who asks."""

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

import faiss
import numpy as np
import pytest

from teola.runtime.engines.collections import gpu
from teola.runtime.engines.collections.index_settings import IndexSettings
from teola.runtime.engines.collections.vector_index import VectorIndex
from teola.runtime.engines.faiss import FaissStore
from teola.runtime.engines.protocol import Request
from teola.runtime.errors import RunError
from tests.engines.test_vector_index import clustered, index_of


class Copy:
    """An index on the stand-in: who searches it, and whose noise is in what it says."""

    def __init__(self, of, machine):
        self._of, self._machine = of, machine
        self.ntotal = of.ntotal

    def search(self, queries, count, params=None):
        self._machine.used()
        values, places = self._of.search(queries, count, params=params)
        noise = self._machine.numbers.uniform(-3e-7, 3e-7, values.shape)
        values = (values + noise).astype(np.float32)
        best = np.argsort(-values if self._of.metric_type == 0 else values, axis=1)
        return np.take_along_axis(values, best, 1), np.take_along_axis(places, best, 1)

    def __del__(self):
        self._machine.used()


class Machine:
    """A machine with two GPUs, as FAISS shows it; ``copies`` are on the first, all are in
    ``devices``."""

    def __init__(self):
        self.threads, self.devices, self.scratch = set(), [], None
        self.numbers = np.random.default_rng(4)

    @property
    def copies(self):
        return self.devices.count(0)

    def used(self):
        self.threads.add(threading.current_thread().name)

    def copied(self, resources, device, index):
        assert resources is self
        self.used()
        self.devices.append(device)
        return Copy(index, self)

    def setTempMemory(self, size):  # noqa: N802 - as FAISS calls it
        self.used()
        self.scratch = size


@pytest.fixture
def machine(monkeypatch):
    """A FAISS that knows two GPUs."""
    one = Machine()
    monkeypatch.setattr(faiss, "StandardGpuResources", lambda: one, raising=False)
    monkeypatch.setattr(faiss, "index_cpu_to_gpu", one.copied, raising=False)
    monkeypatch.setattr(faiss, "get_num_gpus", lambda: 2, raising=False)
    gpu.dispatcher.cache_clear()
    for device in range(2):
        gpu.dispatcher(device).start()
    yield one
    gpu.dispatcher.cache_clear()


def on_gpu(index, device="cuda"):
    return VectorIndex(
        IndexSettings(index.settings.kind, index.settings.metric, device=device), index._index
    )


@pytest.mark.parametrize("metric", ["cosine", "inner_product", "l2"])
@pytest.mark.parametrize("count", [1, 10, 300])
def test_a_flat_index_finds_on_a_gpu_what_it_finds_on_a_cpu(machine, metric, count):
    """To the last bit, ties among them: the GPU proposes, the CPU compares again."""
    rows, queries = clustered(3000)
    rows[1000:1020] = rows[0]
    index = index_of(rows, metric=metric)
    assert on_gpu(index).nearest(queries, count) == index.nearest(queries, count)
    assert machine.copies == 1


def test_clusters_are_searched_on_a_gpu(machine):
    rows, queries = clustered(6000)
    index = index_of(rows, "ivf")
    there, here = on_gpu(index).nearest(queries, 10), index.nearest(queries, 10)
    shares = [len(dict(a).keys() & dict(b).keys()) / 10 for a, b in zip(there, here, strict=True)]
    assert np.mean(shares) > 0.99
    assert machine.copies == 1


def test_what_a_gpu_cannot_do_the_cpu_does(machine):
    """Searches among some vectors, and those for more neighbours than it finds."""
    rows, queries = clustered(5000)
    index = index_of(rows)
    some = np.arange(0, 5000, 7)
    assert on_gpu(index).nearest(queries, 5, some) == index.nearest(queries, 5, some)
    assert on_gpu(index).nearest(queries[:2], 3000) == index.nearest(queries[:2], 3000)
    assert machine.copies == 0


def test_one_thread_does_everything_on_a_gpu(machine):
    """Whichever thread has a store, and whichever lets go of an index."""
    rows, queries = clustered(500)
    index = index_of(rows)
    with ThreadPoolExecutor(4) as threads:
        found = threads.map(lambda _: on_gpu(index).nearest(queries, 3), range(16))
        assert list(found) == [index.nearest(queries, 3)] * 16
    gpu.dispatcher(0).do(lambda: None)
    assert machine.copies == 16
    assert machine.threads == {"teola-gpu-0_0", "teola-gpu-1_0"}
    assert machine.scratch == gpu.SCRATCH_BYTES


def test_each_gpu_has_a_thread_and_copies_of_its_own(machine):
    rows, queries = clustered(500)
    index = index_of(rows)
    machine.threads.clear()
    for device in ("cuda", "cuda:1", "cuda:0"):
        assert on_gpu(index, device).nearest(queries, 3) == index.nearest(queries, 3)
    for device in range(2):
        gpu.dispatcher(device).do(lambda: None)
    assert machine.devices == [0, 1, 0]
    assert machine.threads == {"teola-gpu-0_0", "teola-gpu-1_0"}


def test_files_are_of_no_device(machine, tmp_path):
    """What a store on a GPU has written one on a CPU reads, and the other way round."""

    async def scenario():
        chunk = {"id": "a", "text": "a", "document": "d", "index": 0, "context": "", "meta": {}}
        for first, second in (("cuda", "cpu"), ("cpu", "cuda:1")):
            config = {"path": str(tmp_path / first)}
            one, other = (
                FaissStore({**config, "device": first}),
                FaissStore({**config, "device": second}),
            )
            await one.start()
            await other.start()
            common = {"collection": "shelf", "pending": "p"}
            await one.run([Request("ingest", [(chunk, np.ones(4))], common)])
            await one.control("publish", common)
            asked = Request("search", [np.ones(4)], {"collection": "shelf", "top_k": 1})
            assert await one.run([asked]) == await other.run([asked])

    asyncio.run(scenario())


def test_a_faiss_without_gpus_names_the_one_that_has_them(monkeypatch):
    monkeypatch.delattr(faiss, "StandardGpuResources", raising=False)
    gpu.dispatcher.cache_clear()
    with pytest.raises(RunError, match="pip install faiss-gpu, in place of faiss-cpu"):
        asyncio.run(FaissStore({"device": "cuda"}).start())


def test_a_machine_without_a_gpu_is_refused(machine, monkeypatch):
    monkeypatch.setattr(faiss, "get_num_gpus", lambda: 0)
    gpu.dispatcher.cache_clear()
    with pytest.raises(RunError, match="of GPUs FAISS sees none"):
        asyncio.run(FaissStore({"device": "cuda"}).start())


def test_a_gpu_that_is_not_there_is_refused(machine):
    with pytest.raises(RunError, match="device: cuda:2: of GPUs FAISS sees 2 on this machine"):
        asyncio.run(FaissStore({"device": "cuda:2"}).start())
