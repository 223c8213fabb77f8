"""Indexes in PostgreSQL are made in as much memory as they need, whatever the server gives."""

import os

import numpy as np
import pytest

from teola.compiler.where import parse_where
from tests.engines.test_postgres import QUERIES, VECTORS, Store, done, run

INDEX = "teola.runtime.engines.postgres.nearest_index"
GRUDGING = "CREATE EVENT TRIGGER grudging ON ddl_command_start EXECUTE FUNCTION refuse_workers()"
REFUSE = """
CREATE FUNCTION refuse_workers() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN
    IF current_query() LIKE '%hnsw%' AND current_setting('max_parallel_maintenance_workers') <> '0'
    THEN RAISE EXCEPTION 'could not resize shared memory segment' USING ERRCODE = '53100';
    END IF;
END $$
"""


@pytest.fixture
def frugal(database, monkeypatch):
    """A database of a server that gives one MiB to whoever makes an index."""
    url = os.environ[database["url_env"]]
    options = f"{'&' if '?' in url else '?'}options=-c%20maintenance_work_mem%3D1MB"
    monkeypatch.setenv("TEOLA_FRUGAL_DATABASE", url + options)
    return {"url_env": "TEOLA_FRUGAL_DATABASE"}


async def filled(database, name, count=1000, **settings):
    """How many passages an index of ``count`` finds."""
    async with Store(database, **settings) as store:
        await store.fill(1, name, count)
        (found,) = await store.find(name)
        return len(found)


def test_a_graph_is_made_in_memory(frugal, caplog):
    """Though the server by itself would have it made on the disk."""
    assert run(filled(frugal, "graph", index="hnsw")) == 50
    assert caplog.messages == []


def test_a_graph_that_is_too_large_for_that_says_so(frugal, caplog, monkeypatch):
    """It is made all the same, slowly; what the server says is told, with its advice."""
    monkeypatch.setattr(f"{INDEX}.MOST_BYTES", 0)
    assert run(filled(frugal, "large", index="hnsw")) == 50
    (said,) = caplog.messages
    assert "hnsw graph no longer fits into maintenance_work_mem" in said
    assert "Increase maintenance_work_mem" in said


def test_many_clusters_are_found_in_memory(frugal):
    """More than the server gives by itself: without it there would be no index at all."""
    found = run(filled(frugal, "clusters", index="ivf", nlist=500, nprobe=500))
    assert found == 50


def test_where_workers_have_no_memory_to_share_an_index_is_made_without(database):
    """Containers have little of it."""

    async def scenario():
        async with Store(database, index="hnsw") as store:
            url = os.environ[database["url_env"]]
            await done(url, REFUSE, GRUDGING)
            try:
                await store.fill(1, "alone")
            finally:
                await done(url, "DROP FUNCTION refuse_workers CASCADE")
            (found,) = await store.find("alone")
            assert len(found) == 20

    run(scenario())


@pytest.mark.parametrize("index", ["hnsw", "ivf"])
def test_few_that_a_condition_leaves_are_all_looked_at(database, monkeypatch, index):
    """Though they are the farthest of all, and the server gives up after a hundred others."""
    url = os.environ[database["url_env"]]
    options = "-c%20hnsw.max_scan_tuples%3D100%20-c%20enable_seqscan%3Doff"
    hasty = f"{url}{'&' if '?' in url else '?'}options={options}"
    monkeypatch.setenv("TEOLA_HASTY_DATABASE", hasty)
    by_distance = np.linalg.norm(VECTORS - QUERIES[0], axis=1).argsort()
    far_are_even = np.empty_like(by_distance)
    far_are_even[1::2], far_are_even[::2] = np.split(by_distance, 2)

    async def scenario():
        settings = {"metric": "l2", "index": index, "nprobe": 1}
        async with Store({"url_env": "TEOLA_HASTY_DATABASE"}, **settings) as store:
            name = f"far {index}"
            await store.fill(1, name, len(VECTORS), vectors=VECTORS[far_are_even])
            (found,) = await store.find(name, top_k=10, where=parse_where("meta.even == true"))
            return [one["id"] for one in found]

    numbers = np.arange(0, len(VECTORS), 2)
    assert run(scenario()) == [f"1.{number}" for number in numbers[:10]]
