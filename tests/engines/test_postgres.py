"""A store in PostgreSQL: shared by processes, published in transactions, whole after crashes."""

import asyncio
import json
import subprocess
import sys

import numpy as np
import pytest
from psycopg import AsyncConnection

from teola.compiler.where import parse_where
from teola.runtime.engines.postgres.store import PostgresStore
from teola.runtime.engines.protocol import Failure, Request
from teola.runtime.errors import RunError

NUMBERS = np.random.default_rng(5)
VECTORS = NUMBERS.standard_normal((1500, 12), dtype=np.float32)
QUERIES = VECTORS[:20] + 0.1 * NUMBERS.standard_normal((20, 12), dtype=np.float32)


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
    """A store as one process has it."""

    def __init__(self, database, **settings):
        self.engine = PostgresStore({**database, **settings})

    async def __aenter__(self):
        await self.engine.start()
        return self

    async def __aexit__(self, *_):
        await self.engine.close()

    async def fill(self, generation, name, count=20, mode="dense", vectors=VECTORS):
        items = [(chunk(generation, number), vectors[number]) for number in range(count)]
        common = {"collection": name, "pending": f"{name}#{generation}"}
        await self.engine.run([Request("ingest", items, common)])
        return await self.engine.control("publish", {**common, "mode": mode})

    async def find(self, name, queries=QUERIES[:1], top_k=50, **common):
        common = {"collection": name, "top_k": top_k, **common}
        (results,) = await self.engine.run([Request("search", list(queries), common)])
        return results


def run(scenario):
    return asyncio.run(asyncio.wait_for(scenario, 240))


async def done(url, *statements):
    """The rows of the last of some statements."""
    async with await AsyncConnection.connect(url, autocommit=True) as connection:
        for statement in statements:
            found = await connection.execute(statement)
        return await found.fetchall() if found.description else []


async def collections(store):
    return (await store.engine.control("describe", {}))["collections"]


@pytest.mark.parametrize("metric", ["cosine", "inner_product", "l2"])
@pytest.mark.parametrize("index", ["hnsw", "ivf"])
def test_indexes_find_nearly_all(database, index, metric):
    """With and without a condition, and after more has come."""

    async def scenario():
        name = f"{index} {metric}"
        async with (
            Store(database, metric=metric) as exact,
            Store(database, metric=metric, index=index, nprobe=None) as store,
        ):
            for generation, count in ((1, 500), (2, 1500)):
                await exact.fill(generation, f"exact {name}", count)
                await store.fill(generation, name, count)
                for common in ({}, {"where": parse_where("meta.even == true")}):
                    right = await exact.find(f"exact {name}", QUERIES, 10, **common)
                    found = await store.find(name, QUERIES, 10, **common)
                    shares = [
                        len({one["id"] for one in a} & {one["id"] for one in b}) / 10
                        for a, b in zip(right, found, strict=True)
                    ]
                    assert np.mean(shares) > 0.9
                    assert all(len(one) == 10 for one in found)

    run(scenario())


@pytest.mark.parametrize("index", ["hnsw", "ivf"])
def test_indexes_take_queries_of_zeros(database, index):
    """Which are like nothing, and find as many as any other."""

    async def scenario():
        async with Store(database, index=index, nprobe=100) as store:
            await store.fill(1, f"zeros {index}", 500)
            (found,) = await store.find(f"zeros {index}", [np.zeros(12, np.float32)], 5)
            assert [one["score"] for one in found] == [0] * 5

    run(scenario())


def test_a_store_of_other_settings_is_refused(database):
    async def scenario():
        async with Store(database) as one, Store(database, metric="l2") as other:
            await one.fill(1, "settled")
            failure = await other.find("settled")
            assert isinstance(failure, Failure)
            assert "metric: cosine, the store has index: flat, metric: l2" in failure.message
            with pytest.raises(RunError, match="made with index: flat, metric: cosine"):
                await other.fill(2, "settled")
            assert (await collections(one))["settled"]["count"] == 20

    run(scenario())


@pytest.mark.parametrize("index", ["flat", "hnsw"])
def test_a_batch_finds_what_each_of_its_queries_finds_alone(database, index):
    """Shared by connections, and sent before the first answer is there; those that cannot be
    searched with fail alone."""

    async def scenario():
        async with Store(database, index=index) as store:
            name = f"batch {index}"
            await store.fill(1, name, 500)
            queries = [*VECTORS[:70], np.ones(3, np.float32), *QUERIES]
            together = await store.find(name, queries, 5)
            assert together == [(await store.find(name, [one], 5))[0] for one in queries]
            assert isinstance(together[70], Failure)

    run(scenario())


def test_readers_see_whole_versions(database):
    """While versions are published, each search finds all of one of them."""

    async def scenario():
        async with Store(database) as writer, Store(database) as reader:
            await writer.fill(0, "changing")

            async def write():
                for generation in range(1, 12):
                    await writer.fill(generation, "changing")

            writing = asyncio.ensure_future(write())
            seen = []
            while not writing.done():
                (found,) = await reader.find("changing")
                assert len(found) == 20
                (generation,) = {one["meta"]["generation"] for one in found}
                seen.append(generation)
            await writing
            assert seen == sorted(seen)
            (found,) = await reader.find("changing")
            assert {one["meta"]["generation"] for one in found} == {11}

    run(scenario())


def test_many_publications_at_once_lose_nothing(database):
    async def scenario():
        async with Store(database) as one, Store(database) as other:

            async def add(number):
                store = (one, other)[number % 2]
                items = [({**chunk(0, number), "document": f"own{number}"}, VECTORS[number])]
                common = {"collection": "together", "pending": f"p{number}"}
                await store.engine.run([Request("ingest", items, common)])
                await store.engine.control("publish", common)

            await asyncio.gather(*(add(number) for number in range(12)))
            assert (await collections(one))["together"]["count"] == 12

    run(scenario())


def test_unnamed_collections_are_of_one_engine(database):
    """Two processes call theirs alike."""

    async def scenario():
        async with Store(database) as one, Store(database) as other:
            await one.fill(1, "~1")
            assert isinstance(await other.find("~1"), Failure)
            await other.fill(2, "~1", 5)
            assert ((await collections(one))["~1"]["count"], "~1") == (20, "~1")
            assert (await collections(other))["~1"]["count"] == 5

    run(scenario())


def test_a_failed_publication_leaves_what_was_there(database):
    async def scenario():
        async with Store(database) as store:
            await store.fill(1, "kept")
            with pytest.raises(RunError, match="dimensions 3, 12"):
                await store.fill(2, "kept", vectors=np.ones((20, 3), np.float32))
            broken = [({**chunk(2, 0), "id": "nul\0"}, VECTORS[0])]
            await store.engine.run(
                [Request("ingest", broken, {"collection": "kept", "pending": "b"})]
            )
            with pytest.raises(Exception, match="NUL|0x00"):
                await store.engine.control("publish", {"collection": "kept", "pending": "b"})
            (found,) = await store.find("kept")
            assert {one["meta"]["generation"] for one in found} == {1}
            assert len(found) == 20

    run(scenario())


def test_without_a_database_it_says_what_is_missing(monkeypatch):
    async def scenario():
        with pytest.raises(RunError, match="the environment has no NOWHERE: the URL"):
            await PostgresStore({"url_env": "NOWHERE"}).start()
        monkeypatch.setenv("NOWHERE", "postgresql://localhost:1/none")
        with pytest.raises(RunError, match="the database at the URL in NOWHERE cannot be used"):
            await PostgresStore({"url_env": "NOWHERE"}).start()

    run(scenario())


FLOW = """
teola: 1
name: {name}
inputs: {{documents: {{type: list<document>, default: []}}, query: {{type: text, default: ""}}}}
engines:
  embedder: {{kind: embedder, backend: fake, dimension: 16}}
  store: {{kind: store, backend: postgres, url_env: {variable}, index: hnsw}}
modules:
{modules}
outputs: {{{output}}}
"""
INDEX = """
  chunks: {uses: chunk, inputs: {documents: inputs.documents}, with: {by: characters, size: 60}}
  indexed:
    uses: index
    inputs: {chunks: chunks.chunks}
    with: {collection: handbook, mode: hybrid}
"""
SEARCH = """
  found:
    uses: search
    inputs: {query: inputs.query}
    with: {collection: handbook, mode: hybrid, top_k: 2, where: meta.type == "markdown"}
"""


def run_in_a_process(tmp_path, database, name, modules, output, *arguments):
    """The outputs of a workflow that a process of its own runs."""
    path = tmp_path / f"{name}.yaml"
    variable = database["url_env"]
    path.write_text(FLOW.format(name=name, modules=modules, output=output, variable=variable))
    command = [sys.executable, "-m", "teola.runtime.cli", "run", str(path), "--json", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=240)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)["outputs"]


def test_one_process_ingests_and_another_searches(tmp_path, database):
    (tmp_path / "wal.md").write_text("A checkpoint copies the log into the database.")
    (tmp_path / "other.txt").write_text("A checkpoint is described elsewhere, too.")
    documents = ("-i", f"documents=@{tmp_path}")
    made = run_in_a_process(
        tmp_path, database, "ingesting", INDEX, "count: indexed.count", *documents
    )
    assert made == {"count": 2}
    found = run_in_a_process(
        tmp_path, database, "searching", SEARCH, "p: found.passages", "-i", "query=checkpoint"
    )
    assert [passage["document"] for passage in found["p"]] == ["wal.md"]
