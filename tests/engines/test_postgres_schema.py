"""What the store needs of a database, and how its tables become those of a later version."""

import asyncio
import os

import pytest
from psycopg import AsyncConnection
from psycopg.conninfo import make_conninfo

from teola.runtime.engines.postgres import schema
from teola.runtime.errors import RunError
from tests.engines.test_postgres import Store, collections, done, run

VARIABLE = "TEOLA_EMPTY_DATABASE"
SECOND = """
    CREATE TABLE tried (at timestamptz NOT NULL DEFAULT clock_timestamp());
    INSERT INTO tried DEFAULT VALUES;
    ALTER TABLE collections ADD COLUMN note text NOT NULL DEFAULT 'old';
    DO $$ DECLARE one bigint; BEGIN
        FOR one IN SELECT id FROM collections WHERE filled LOOP
            EXECUTE format('ALTER TABLE chunks_%s ADD COLUMN size integer', one);
            EXECUTE format('UPDATE chunks_%s SET size = length(chunk ->> ''text'')', one);
        END LOOP;
    END $$
"""
PRETENDED = "UPDATE pg_extension SET extversion = '{}' WHERE extname = 'vector'"
FAILS = "CREATE TABLE tried (at timestamptz); SELECT 1 / 0"


@pytest.fixture
def empty(server_of_databases, monkeypatch):
    """Settings of a store in a database of its own, with nothing in it."""
    asyncio.run(done(server_of_databases.get_uri(), "CREATE DATABASE emptied"))
    url = server_of_databases.get_uri(database="emptied")
    monkeypatch.setenv(VARIABLE, url)
    yield {"url_env": VARIABLE}
    asyncio.run(done(server_of_databases.get_uri(), "DROP DATABASE emptied WITH (FORCE)"))


async def asked(*statements):
    return await done(os.environ[VARIABLE], *statements)


async def tables():
    found = await asked(
        "SELECT relname FROM pg_class WHERE relnamespace = to_regnamespace('teola')"
    )
    return sorted(name for (name,) in found)


async def until_waiting(count):
    """Until so many wait for the lock of who changes the tables."""
    waiting = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
    while await asked(waiting) != [(count,)]:
        await asyncio.sleep(0)


def test_two_engines_that_start_together_take_each_step_once(empty, monkeypatch):
    """In a database with data, which is as it was for whoever searches it."""

    async def scenario():
        async with Store(empty, index="hnsw") as first:
            await first.fill(1, "kept", 40)
            before, described = await first.find("kept"), await collections(first)
        monkeypatch.setattr(schema, "MIGRATIONS", (*schema.MIGRATIONS, SECOND))
        stores = [Store(empty, index="hnsw") for _ in range(2)]
        async with await AsyncConnection.connect(os.environ[VARIABLE]) as connection:
            await connection.execute("SELECT pg_advisory_xact_lock(%s)", [schema.LOCK])
            starting = [asyncio.create_task(one.engine.start()) for one in stores]
            await until_waiting(len(stores))
        await asyncio.gather(*starting)
        assert await asked("SELECT version FROM teola.migrations ORDER BY 1") == [(1,), (2,)]
        assert await asked("SELECT count(*) FROM teola.tried") == [(1,)]
        assert await asked("SELECT min(size) > 0 FROM teola.chunks_1") == [(True,)]
        for one in stores:
            assert await one.find("kept") == before
            assert await collections(one) == described
        assert await stores[0].fill(2, "kept", 41) == {"count": 41}
        await asyncio.gather(*(one.engine.close() for one in stores))

    run(scenario())


def test_an_engine_that_lives_goes_on_while_another_changes_the_tables(empty, monkeypatch):
    async def scenario():
        async with Store(empty) as old:
            await old.fill(1, "kept")
            before = await old.find("kept")
            monkeypatch.setattr(schema, "MIGRATIONS", (*schema.MIGRATIONS, SECOND))
            async with Store(empty) as new:
                assert await new.find("kept") == await old.find("kept") == before
                assert await old.fill(2, "kept") == {"count": 20}

    run(scenario())


@pytest.mark.parametrize("steps", [(*schema.MIGRATIONS, FAILS), (FAILS, *schema.MIGRATIONS)])
def test_a_step_that_fails_leaves_the_database_as_it_was(empty, monkeypatch, steps):
    """With data, and where there was nothing yet."""
    has_data = steps[0] is not FAILS

    async def scenario():
        if has_data:
            async with Store(empty) as first:
                await first.fill(1, "kept")
        before = await tables()
        with monkeypatch.context() as patch:
            patch.setattr(schema, "MIGRATIONS", steps)
            number = 1 + steps.index(FAILS)
            with pytest.raises(RunError, match=f"not be brought to version {number} .*by zero"):
                await Store(empty).engine.start()
        assert await tables() == before
        assert bool(before) is has_data
        async with Store(empty) as store:
            if has_data:
                assert len((await store.find("kept"))[0]) == 20
            assert await store.fill(2, "kept") == {"count": 20}

    run(scenario())


def test_tables_of_a_later_version_are_refused(empty):
    async def scenario():
        async with Store(empty) as store:
            await store.fill(1, "kept")
        await asked("INSERT INTO teola.migrations VALUES (99)")
        before = await tables()
        with pytest.raises(RunError, match="of version 99, this Teola knows version 1: update"):
            await Store(empty).engine.start()
        assert await tables() == before

    run(scenario())


@pytest.mark.parametrize("version", ["0.5.1", "0.7.4"])
def test_an_older_pgvector_is_refused(empty, version):
    """With its version, the one that is needed, and what to do; nothing is made in the database."""

    async def scenario():
        await asked("CREATE EXTENSION vector", PRETENDED.format(version))
        needed = f"pgvector {version}, the store needs 0.8 or later.*ALTER EXTENSION vector UPDATE"
        with pytest.raises(RunError, match=needed):
            await Store(empty).engine.start()
        assert await tables() == []

    run(scenario())


@pytest.mark.parametrize("version", ["0.8.0", "0.10.1", "1.0"])
def test_later_ones_will_do(empty, version):
    async def scenario():
        await asked("CREATE EXTENSION vector", PRETENDED.format(version))
        async with Store(empty) as store:
            assert await store.fill(1, "kept") == {"count": 20}

    run(scenario())


def test_who_may_not_install_pgvector_is_told_what_to_ask_for(empty, monkeypatch):
    """Once an administrator has, a role that owns nothing but the schema suffices."""

    async def scenario():
        await asked("CREATE ROLE modest LOGIN", "CREATE SCHEMA teola AUTHORIZATION modest")
        try:
            url = make_conninfo(os.environ[VARIABLE], user="modest")
            monkeypatch.setenv("TEOLA_MODEST_DATABASE", url)
            modest = {"url_env": "TEOLA_MODEST_DATABASE"}
            with pytest.raises(
                RunError, match="(?s)no pgvector .*administrator run CREATE EXTENSION"
            ):
                await Store(modest).engine.start()
            await asked("CREATE EXTENSION vector")
            async with Store(modest) as store:
                assert await store.fill(1, "kept") == {"count": 20}
        finally:
            await asked("DROP OWNED BY modest CASCADE", "DROP ROLE modest")

    run(scenario())
