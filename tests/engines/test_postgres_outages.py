"""A database that ends connections, goes away and comes back: nothing is lost in silence."""

import asyncio
import contextlib
import itertools
import os
from contextlib import asynccontextmanager

import numpy as np
import pytest
from psycopg import AsyncConnection

from teola.runtime import EnginePool, Runner
from teola.runtime.engines.postgres import catalog, life, publication, searches, store
from teola.runtime.engines.postgres.database import DatabaseFailure
from teola.runtime.engines.protocol import Failure
from teola.runtime.errors import StateLost
from teola.runtime.hosts import EngineDied
from tests.engines.test_postgres import Store, collections, done, run
from tests.postgres_server import restart

DATABASE = "teola.runtime.engines.postgres.database"
END_ALL = (
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
    "WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
)
END_MINE = "SELECT pg_terminate_backend(pg_backend_pid())"


@asynccontextmanager
async def connected(database):
    url = os.environ[database["url_env"]]
    async with await AsyncConnection.connect(url, autocommit=True) as connection:
        yield connection


async def drop_as_of_the_dead(database):
    """What another engine does that believes this one dead."""
    async with connected(database) as connection:
        for owner in await catalog.owners(connection):
            for name in await catalog.owned(connection, owner):
                await catalog.drop(connection, name)


def generations(found):
    return [one["meta"]["generation"] for one in found[0]]


@pytest.fixture(params=["connections are ended", "the server is started again"])
def outage(request, database, server_of_databases):
    """What ends all connections."""
    if request.param == "connections are ended":
        return lambda: done(os.environ[database["url_env"]], END_ALL)
    return lambda: asyncio.to_thread(restart, server_of_databases)


def test_an_engine_that_loses_its_connections_lives_on(database, outage):
    """Its collections without a name are there though another engine starts; so is all it does."""

    async def scenario():
        async with Store(database) as one:
            await one.fill(1, "~1")
            await one.fill(1, "lasting")
            await outage()
            async with Store(database):
                for name in ("~1", "lasting"):
                    assert generations(await one.find(name)) == [1] * 20
                    assert await one.fill(2, name) == {"count": 20}
                    assert generations(await one.find(name)) == [2] * 20
        async with Store(database) as other:
            assert "lasting" in await collections(other)

    run(scenario())


def test_an_engine_that_is_away_for_a_while_is_waited_for(database, monkeypatch):
    """An engine that starts meanwhile sees that nobody holds the lock, and looks again later."""
    monkeypatch.setattr(store, "PATIENCE_S", 0)
    back, missed = asyncio.Event(), []

    async def scenario():
        async with Store(database) as one:
            await one.fill(1, "~1")
            _, alive = one.engine._opened
            held, dead = alive._held, life.dead

            async def held_again():
                connection = await held()
                back.set()
                return connection

            async def dead_then(connection, owners):
                if missed:
                    alive.keep()
                    await back.wait()
                async for owner in dead(connection, owners):
                    missed.append(owner)
                    yield owner

            await alive.end()
            monkeypatch.setattr(alive, "_held", held_again)
            monkeypatch.setattr(life, "dead", dead_then)
            async with Store(database):
                assert missed == [one.engine._owner]
                assert generations(await one.find("~1")) == [1] * 20

    run(scenario())


@pytest.mark.parametrize("use", ["search", "publish"])
def test_an_engine_that_others_took_for_dead_has_died(database, monkeypatch, use):
    """It neither finds nothing nor begins its collection anew: whoever has a handle is told."""
    monkeypatch.setattr(store, "PATIENCE_S", 0)

    async def scenario():
        async with Store(database) as one:
            await one.fill(1, "~1")
            await one.engine._opened[1].end()
            async with Store(database):
                with pytest.raises(EngineDied, match="took this one for dead"):
                    await (one.find("~1") if use == "search" else one.fill(2, "~1"))
                assert await one.fill(1, "~2") == {"count": 20}

    run(scenario())


KEPT = """
teola: 1
name: kept
inputs: {{documents: list<document>, query: text}}
engines:
  embedder: {{kind: embedder, backend: fake, dimension: 16}}
  store: {{kind: store, backend: postgres, url_env: {url_env}}}
modules:
  chunks: {{uses: chunk, inputs: {{documents: inputs.documents}}, with: {{size: 60}}}}
  indexed: {{uses: index, inputs: {{chunks: chunks.chunks}}}}
  found:
    uses: search
    inputs: {{query: inputs.query, collection: indexed.collection}}
    with: {{top_k: 3}}
outputs: {{passages: found.passages}}
"""


def test_who_searches_what_others_dropped_is_told_that_it_is_lost(tmp_path, database):
    """The next query indexes again."""
    path = tmp_path / "kept.yaml"
    path.write_text(KEPT.format(**database))
    (tmp_path / "wal.md").write_text("A checkpoint copies the log into the database.")
    documents = [str(tmp_path / "wal.md")]

    async def scenario():
        async with EnginePool() as pool, Runner(str(path), pool=pool) as runner:
            before = await runner.run(documents=documents, query="log")
            await drop_as_of_the_dead(database)
            with pytest.raises(StateLost, match="restarted"):
                await runner.run(documents=documents, query="database")
            assert (await runner.run(documents=documents, query="log")).outputs == before.outputs

    run(scenario())


def ended(real, times, *, after=False, commit=False):
    """``real``, whose connection ends before or after it, so many times."""
    left = iter(range(times))

    async def one(connection, *arguments):
        result = await real(connection, *arguments) if after else None
        if next(left, None) is not None:
            if commit:
                await connection.commit()
            await connection.execute(END_MINE)
        return result if after else await real(connection, *arguments)

    return one


@pytest.mark.parametrize("how", [{}, {"after": True}, {"after": True, "commit": True}])
def test_a_publication_whose_connection_ends_is_begun_again(database, monkeypatch, how):
    """Even where the database had it already: it is the same twice."""

    async def scenario():
        async with Store(database) as one:
            await one.fill(1, "again")
            monkeypatch.setattr(publication, "settle", ended(publication.settle, 1, **how))
            assert await one.fill(2, "again") == {"count": 20}
            assert generations(await one.find("again")) == [2] * 20

    run(scenario())


def test_a_publication_whose_connections_all_end_publishes_nothing(database, monkeypatch):
    async def scenario():
        async with Store(database) as one, Store(database) as other:
            await one.fill(1, "broken")
            with monkeypatch.context() as patch:
                patch.setattr(publication, "settle", ended(publication.settle, 100, after=True))
                with pytest.raises(DatabaseFailure, match="terminating connection"):
                    await one.fill(2, "broken")
            assert generations(await other.find("broken")) == [1] * 20
            assert await one.fill(3, "broken") == {"count": 20}
            assert generations(await other.find("broken")) == [3] * 20

    run(scenario())


def test_a_search_whose_connection_ends_is_begun_again(database, monkeypatch):
    """Where that does not help the engine has failed, and not the query: trying again may help."""

    async def scenario():
        async with Store(database) as one:
            await one.fill(1, "sought")
            for times in (1, 100):
                broken = ended(searches.found_by, times)
                with monkeypatch.context() as patch:
                    patch.setattr(searches, "found_by", broken)
                    found = await one.find("sought")
                if times == 1:
                    assert generations(found) == [1] * 20
            assert isinstance(found, Failure)
            assert found.kind == "engine"
            assert generations(await one.find("sought")) == [1] * 20

    run(scenario())


def test_while_connections_end_again_and_again_readers_see_whole_versions(database):
    """What was said to be published is there, or what came after it."""

    async def scenario():
        async with Store(database) as writer, Store(database) as reader:
            await writer.fill(0, "shaken")
            published, over = 0, False

            async def write():
                nonlocal published
                for generation in itertools.takewhile(lambda _: not over, itertools.count(1)):
                    with contextlib.suppress(DatabaseFailure):
                        await writer.fill(generation, "shaken")
                        published = generation

            writing = asyncio.ensure_future(write())
            for _ in range(25):
                least = published
                found = await reader.find("shaken")
                if isinstance(found, Failure):
                    assert found.kind == "engine"
                else:
                    assert len(found[0]) == 20
                    (generation,) = set(generations(found))
                    assert generation >= least
                await done(os.environ[database["url_env"]], END_ALL)
            over = True
            await writing
            assert await writer.fill(-1, "shaken") == {"count": 20}
            assert generations(await reader.find("shaken")) == [-1] * 20

    run(scenario())


def test_while_the_database_is_away_requests_fail_and_later_ones_work(
    database, server_of_databases, monkeypatch
):
    monkeypatch.setattr(f"{DATABASE}.WAIT_S", 0.2)

    async def scenario():
        async with Store(database) as one:
            await one.fill(1, "absent")
            await one.fill(1, "~1")
            await asyncio.to_thread(server_of_databases.stop)
            try:
                failure = await one.find("absent")
                assert isinstance(failure, Failure)
                assert failure.kind == "engine"
                with pytest.raises(DatabaseFailure):
                    await one.fill(2, "absent")
            finally:
                await asyncio.to_thread(server_of_databases.ensure_postgres_running)
            monkeypatch.setattr(one.engine._database._pool, "timeout", 60)
            assert generations(await one.find("absent")) == [1] * 20
            assert generations(await one.find("~1")) == [1] * 20

    run(scenario())


def test_parting_while_the_database_is_away_takes_no_time(
    database, server_of_databases, monkeypatch, caplog
):
    """What is left is dropped by the engine that starts next."""
    monkeypatch.setattr(store, "PATIENCE_S", 0)

    async def scenario():
        one = Store(database)
        await one.engine.start()
        await one.fill(1, "~1")
        monkeypatch.setattr(store, "PARTING_S", 0.1)
        await asyncio.to_thread(server_of_databases.stop)
        try:
            await one.engine.close()
        finally:
            await asyncio.to_thread(server_of_databases.ensure_postgres_running)
        assert "the next engine drops what this one leaves" in caplog.text
        async with Store(database), connected(database) as connection:
            assert await catalog.owners(connection) == []

    run(scenario())


def test_only_the_dead_are_buried(database, monkeypatch):
    """By several engines that start at once."""
    monkeypatch.setattr(store, "PATIENCE_S", 0)

    async def scenario():
        async with Store(database) as living:
            await living.fill(1, "~1")
            killed = Store(database)
            await killed.engine.start()
            await killed.fill(3, "~1", vectors=np.ones((20, 5), np.float32))
            await killed.engine._opened[0].close()
            await killed.engine._opened[1].end()
            others = [Store(database, connections=1) for _ in range(3)]
            await asyncio.gather(*(one.engine.start() for one in others))
            async with connected(database) as connection:
                assert len(await catalog.owners(connection)) == 1
            assert generations(await living.find("~1")) == [1] * 20
            await asyncio.gather(*(one.engine.close() for one in others))

    run(scenario())
