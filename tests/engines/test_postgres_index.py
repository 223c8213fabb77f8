"""Indexes in PostgreSQL are made in as much memory as they need, whatever the server gives."""

import os

import pytest

from tests.engines.test_postgres import Store, run

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

            async def done(*statements):
                async with store.engine._pool.connection() as connection:
                    for statement in statements:
                        await connection.execute(statement)

            await done(REFUSE, GRUDGING)
            try:
                await store.fill(1, "alone")
            finally:
                await done("DROP FUNCTION refuse_workers CASCADE")
            (found,) = await store.find("alone")
            assert len(found) == 20

    run(scenario())
