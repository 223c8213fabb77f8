"""A store in a folder: versions that are whole, whoever writes, reads or dies."""

import asyncio
import json
import signal
import subprocess
import sys
import threading

import numpy as np
import pytest

from teola.compiler.where import parse_where
from teola.runtime.engines.collections import folder
from teola.runtime.engines.collections.vector_index import VectorIndex
from teola.runtime.engines.faiss import FaissStore
from teola.runtime.engines.protocol import Failure, Request
from teola.runtime.errors import RunError

DIMENSION = 8
VECTORS = np.random.default_rng(3).standard_normal((64, DIMENSION), dtype=np.float32)


def chunk(generation, number):
    return {
        "id": f"{generation}.{number}",
        "text": f"generation {generation} number n{number}",
        "document": f"d{number % 7}",
        "index": number,
        "context": "",
        "meta": {"generation": generation, "even": number % 2 == 0},
    }


class Store:
    """A store in ``folder``, as one process has it."""

    def __init__(self, folder, **settings):
        self.engine = FaissStore({"path": str(folder), **settings})

    async def started(self):
        await self.engine.start()
        return self

    async def fill(self, generation, count=20, name="shelf", mode="hybrid", fingerprint="minilm"):
        vectors = [None] * count if mode == "keyword" else VECTORS
        items = [(chunk(generation, number), vectors[number]) for number in range(count)]
        common = {"collection": name, "pending": f"{name}#{generation}"}
        await self.engine.run([Request("ingest", items, common)])
        return await self.engine.control(
            "publish", {**common, "fingerprint": fingerprint, "mode": mode}
        )

    async def find(self, query=0, name="shelf", top_k=50, **common):
        by_words = isinstance(query, str)
        request = Request(
            "keyword_search" if by_words else "search",
            [query if by_words else VECTORS[query]],
            {"collection": name, "top_k": top_k, **common},
        )
        (results,) = await self.engine.run([request])
        return results if isinstance(results, Failure) else results[0]


def run(test):
    return asyncio.run(test)


def versions(folder, name="c-shelf"):
    return sorted(path.name for path in (folder / name).iterdir())


@pytest.mark.parametrize("mode", ["dense", "keyword", "hybrid"])
@pytest.mark.parametrize("index", ["flat", "hnsw", "ivf"])
def test_what_is_published_is_there_after_a_restart(tmp_path, index, mode):
    async def scenario():
        first = await Store(tmp_path, index=index).started()
        await first.fill(1, mode=mode)
        asked = ["number n3"] if mode == "keyword" else [5]
        asked += ["number n3"] if mode == "hybrid" else []
        before = [await first.find(query) for query in asked]
        some = await first.find(asked[0], where=parse_where("meta.even == true"))
        assert all(before)
        assert {passage["meta"]["even"] for passage in some} == {True}
        await first.engine.close()
        second = await Store(tmp_path, index=index).started()
        assert [await second.find(query) for query in asked] == before
        assert await second.find(asked[0], where=parse_where("meta.even == true")) == some
        described = await second.engine.control("describe", {"collection": "shelf"})
        assert (described["count"], described["fingerprint"]) == (20, "minilm")
        assert await second.fill(2, mode=mode) == {"count": 20}

    run(scenario())


def test_other_processes_see_the_newest_version(tmp_path):
    async def scenario():
        writer, reader = await Store(tmp_path).started(), await Store(tmp_path).started()
        assert "no collection 'shelf'" in (await reader.find()).message
        for generation in range(1, 5):
            await writer.fill(generation)
            found = await reader.find()
            assert {passage["meta"]["generation"] for passage in found} == {generation}
        await writer.engine.control("drop", {"collection": "shelf"})
        assert isinstance(await reader.find(), Failure)
        await reader.fill(9)
        assert {one["meta"]["generation"] for one in await writer.find()} == {9}

    run(scenario())


def test_two_processes_may_write_in_turn(tmp_path):
    """What one of them has published, the other builds on."""

    async def scenario():
        one, other = await Store(tmp_path).started(), await Store(tmp_path).started()
        await one.fill(1, count=3)
        items = [({**chunk(2, 0), "document": "new"}, VECTORS[9])]
        common = {"collection": "shelf", "pending": "p"}
        await other.engine.run([Request("ingest", items, common)])
        assert await other.engine.control(
            "publish", {**common, "fingerprint": "minilm", "mode": "hybrid"}
        ) == {"count": 4}
        assert len(await one.find()) == 4

    run(scenario())


def test_many_publications_at_once_lose_nothing(tmp_path):
    async def scenario():
        stores = [await Store(tmp_path).started() for _ in range(3)]

        async def add(number):
            store = stores[number % 3]
            items = [({**chunk(0, number), "document": f"own{number}"}, VECTORS[number])]
            common = {"collection": "shelf", "pending": f"p{number}"}
            await store.engine.run([Request("ingest", items, common)])
            await store.engine.control("publish", common)

        await asyncio.gather(*(add(number) for number in range(24)))
        assert len(await stores[0].find()) == 24

    run(scenario())


@pytest.mark.parametrize(
    ("settings", "other", "said"),
    [
        ({}, {"metric": "l2"}, "metric: cosine, language: english, the store has index: flat, "),
        ({}, {"index": "hnsw"}, "made with index: flat, .* has index: hnsw"),
        ({"index": "hnsw"}, {"index": "hnsw", "m": 8}, "m: 32, .* m: 8"),
        ({"index": "ivf", "nlist": 4}, {"index": "ivf"}, "nlist: 4, .* nlist: None"),
        ({}, {"language": "german"}, "language: english, .* language: german"),
    ],
)
def test_a_store_of_other_settings_is_refused(tmp_path, settings, other, said):
    async def scenario():
        await (await Store(tmp_path, **settings).started()).fill(1)
        store = await Store(tmp_path, **other).started()
        failure = await store.find()
        assert isinstance(failure, Failure)
        with pytest.raises(RunError, match=said):
            await store.fill(2)
        assert len(await (await Store(tmp_path, **settings).started()).find()) == 20

    run(scenario())


def test_what_there_is_is_told_whatever_it_was_made_with(tmp_path):
    """Without reading more than what a version says of itself."""

    async def scenario():
        await (await Store(tmp_path).started()).fill(1)
        (tmp_path / "c-shelf" / "1" / "vectors.faiss").unlink()
        other = await Store(tmp_path, metric="l2").started()
        described = await other.engine.control("describe", {})
        said = {"count": 20, "dimension": DIMENSION, "fingerprint": "minilm"}
        assert described["collections"] == {"shelf": said}

    run(scenario())


def test_a_collection_is_dropped_once(tmp_path, monkeypatch):
    """Another process drops it between the look and the lock."""
    real = folder.CollectionFolder._locked

    def late(self):
        lock = real(self)
        self.path.rename(self.path.with_name("~gone"))
        return lock

    async def scenario():
        store = await Store(tmp_path).started()
        await store.fill(1)
        monkeypatch.setattr(folder.CollectionFolder, "_locked", late)
        assert await store.engine.control("drop", {"collection": "shelf"}) is False

    run(scenario())


def test_how_it_is_searched_may_change(tmp_path):
    async def scenario():
        await (await Store(tmp_path, index="hnsw").started()).fill(1)
        store = await Store(tmp_path, index="hnsw", ef_search=7).started()
        assert len(await store.find(top_k=5)) == 5

    run(scenario())


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"fingerprint": "other"}, "embedder minilm, not of other"),
        ({"mode": "dense"}, "has the mode hybrid, not dense"),
    ],
)
def test_another_embedder_or_mode_is_refused(tmp_path, more, said):
    async def scenario():
        store = await Store(tmp_path).started()
        await store.fill(1)
        with pytest.raises(RunError, match=said):
            await store.fill(2, **more)
        assert {one["meta"]["generation"] for one in await store.find()} == {1}
        assert await store.fill(3) == {"count": 20}

    run(scenario())


def test_queries_that_ask_alike_are_one_search(tmp_path, monkeypatch):
    """Of all requests of a batch; each gets its own."""
    sizes = []
    real = VectorIndex.nearest

    def nearest(self, queries, *rest):
        sizes.append(len(queries))
        return real(self, queries, *rest)

    async def scenario():
        store = await Store(tmp_path).started()
        await store.fill(1)
        alone = [await store.find(number, top_k=3) for number in range(10)]
        monkeypatch.setattr(VectorIndex, "nearest", nearest)
        requests = [
            Request("search", VECTORS[at : at + 1], {"collection": "shelf", "top_k": 3})
            for at in range(10)
        ]
        assert [found for (found,) in await store.engine.run(requests)] == alone
        assert sizes == [10]

    run(scenario())


def test_unnamed_collections_are_in_no_folder(tmp_path):
    async def scenario():
        store = await Store(tmp_path).started()
        await store.fill(1, name="~1")
        assert len(await store.find(name="~1")) == 20
        assert list(tmp_path.iterdir()) == []
        assert await store.engine.control("drop", {"collection": "~1"})

    run(scenario())


@pytest.mark.parametrize("name", ["a/b", "..", "ü %2F", "x" * 100, "C-1", "c-"])
def test_names_are_whatever_people_write(tmp_path, name):
    async def scenario():
        await (await Store(tmp_path / "s").started()).fill(1, name=name)
        store = await Store(tmp_path / "s").started()
        assert len(await store.find(name=name)) == 20
        assert list((await store.engine.control("describe", {}))["collections"]) == [name]
        assert [path.name for path in tmp_path.iterdir()] == ["s"]

    run(scenario())


def test_old_versions_go_and_the_last_but_one_stays(tmp_path):
    async def scenario():
        store = await Store(tmp_path).started()
        for generation in range(1, 6):
            await store.fill(generation)
        assert versions(tmp_path) == ["4", "5"]

    run(scenario())


def test_a_disk_that_fails_anywhere_leaves_what_was_there(tmp_path, monkeypatch):
    """Whichever step of a publication fails: the old version, whole, or the new one, whole."""
    done = 0
    real = folder.on_disk
    fails_at = None

    def sometimes(path):
        nonlocal done
        done += 1
        if done == fails_at:
            raise OSError(28, "No space left on device")
        real(path)

    monkeypatch.setattr(folder, "on_disk", sometimes)

    async def scenario():
        nonlocal done, fails_at
        store = await Store(tmp_path).started()
        await store.fill(0)
        steps, done = done, 0
        assert steps > 5
        for generation in range(1, steps + 1):
            done, fails_at = 0, generation
            before = {one["meta"]["generation"] for one in await store.find()}
            with pytest.raises(OSError, match="No space"):
                await store.fill(generation)
            fresh = await (await Store(tmp_path).started()).find()
            assert len(fresh) == 20
            assert {one["meta"]["generation"] for one in fresh} in (before, {generation})
            fails_at = None
        assert await store.fill(999) == {"count": 20}
        assert len(versions(tmp_path)) == 2

    run(scenario())


def test_a_cancelled_publication_publishes_nothing(tmp_path, monkeypatch):
    """It is given up while it is written; the next one does not wait for its lock."""
    real = folder.on_disk
    writes, goes_on = threading.Event(), threading.Event()

    def slowly(path):
        writes.set()
        goes_on.wait()
        real(path)

    async def scenario():
        store = await Store(tmp_path).started()
        await store.fill(1)
        monkeypatch.setattr(folder, "on_disk", slowly)
        job = asyncio.ensure_future(store.fill(2))
        while not writes.is_set():
            await asyncio.sleep(0)
        job.cancel()
        with pytest.raises(asyncio.CancelledError):
            await job
        goes_on.set()
        assert {one["meta"]["generation"] for one in await store.find()} == {1}
        assert await asyncio.wait_for(store.fill(3), 60) == {"count": 20}
        assert versions(tmp_path) == ["1", "2"]

    run(scenario())


def test_a_damaged_version_is_named(tmp_path):
    async def scenario():
        store = await Store(tmp_path).started()
        await store.fill(1)
        chunks = tmp_path / "c-shelf" / "1" / "chunks.jsonl"
        chunks.write_text(chunks.read_text()[:-50])
        failure = await (await Store(tmp_path).started()).find()
        assert "version 1 of collection 'shelf'" in failure.message

    run(scenario())


def test_a_version_of_a_later_schema_is_refused(tmp_path):
    async def scenario():
        await (await Store(tmp_path).started()).fill(1)
        about = tmp_path / "c-shelf" / "1" / "collection.json"
        about.write_text(json.dumps({"schema": "teola.collection/2"}))
        assert "teola.collection/2" in (await (await Store(tmp_path).started()).find()).message

    run(scenario())


def test_a_plan_does_not_say_where_collections_are():
    async def scenario():
        with pytest.raises(RunError, match="--set engines"):
            await FaissStore({"path": ""}).start()

    run(scenario())


WRITER = """
import asyncio, sys
sys.path.insert(0, {tests!r})
from test_durable_store import Store

async def main():
    store = await Store({folder!r}, index={index!r}).started()
    for generation in range(1, 10_000):
        await store.fill(generation, count=40)
        print(generation, flush=True)

asyncio.run(main())
"""


@pytest.mark.parametrize("index", ["flat", "hnsw"])
def test_a_writer_that_is_killed_leaves_a_whole_version(tmp_path, index, request):
    """At any moment: what it said is published is there, or what came after it, and whole."""
    code = WRITER.format(tests=str(request.path.parent), folder=str(tmp_path), index=index)
    delays = np.random.default_rng(7)
    for _ in range(4):
        with subprocess.Popen(
            [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True
        ) as writer:
            said = writer.stdout.readline()
            with pytest.raises(subprocess.TimeoutExpired):
                writer.wait(timeout=delays.uniform(0, 0.05))
            writer.send_signal(signal.SIGKILL)
            said = max(map(int, (said + writer.stdout.read()).split()))
        found = run(after_a_crash(tmp_path, index))
        generations = {one["meta"]["generation"] for one in found}
        assert len(found) == 40
        assert len(generations) == 1
        assert generations <= {said, said + 1}


async def after_a_crash(folder, index):
    """What a new process finds, which then publishes itself."""
    store = await Store(folder, index=index).started()
    found = await store.find()
    assert len(await store.find("generation")) == 40
    assert await store.fill(0, count=7) == {"count": 7}
    assert not any(name.startswith("~") for name in versions(folder))
    return found
