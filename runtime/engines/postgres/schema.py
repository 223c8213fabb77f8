"""The tables of the store, and how older ones become these."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from teola.runtime.errors import RunError

if TYPE_CHECKING:
    from psycopg import AsyncConnection

SCHEMA = "teola"
LOCK = 7_346_001
"""Whoever changes the tables holds this advisory lock."""

MIGRATIONS = (
    """
    CREATE TABLE collections (
        id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        name text NOT NULL UNIQUE,
        owner bigint,
        mode text NOT NULL,
        fingerprint text,
        dimension integer NOT NULL DEFAULT 0,
        built jsonb NOT NULL,
        filled boolean NOT NULL DEFAULT false,
        indexed bigint NOT NULL DEFAULT 0
    );
    COMMENT ON COLUMN collections.owner IS 'whose unnamed collection it is: an advisory lock';
    COMMENT ON COLUMN collections.built IS 'what its index was made with';
    CREATE FUNCTION compared(a jsonb, b jsonb) RETURNS integer LANGUAGE sql IMMUTABLE AS $$
        SELECT CASE
            WHEN a = b THEN CASE WHEN jsonb_typeof(a) IN ('number', 'string') THEN 0 END
            WHEN jsonb_typeof(a) <> jsonb_typeof(b) THEN NULL
            WHEN jsonb_typeof(a) = 'number' THEN CASE WHEN a < b THEN -1 ELSE 1 END
            WHEN jsonb_typeof(a) = 'string' THEN
                CASE WHEN (a #>> '{}') COLLATE "C" < (b #>> '{}') COLLATE "C" THEN -1 ELSE 1 END
        END
    $$;
    COMMENT ON FUNCTION compared IS 'null unless two numbers or two texts';
    CREATE FUNCTION is_in(a jsonb, b jsonb) RETURNS boolean LANGUAGE sql IMMUTABLE AS $$
        SELECT CASE jsonb_typeof(b)
            WHEN 'array' THEN EXISTS (SELECT FROM jsonb_array_elements(b) AS item WHERE item = a)
            ELSE false
        END
    $$
    """,
)
"""Each leads from one version of the tables to the next; none is ever changed. A collection has a
table of chunks besides: only embeddings of one dimension can be indexed."""


async def migrate(connection: AsyncConnection[Any]) -> None:
    """Bring the tables to this version, once, whoever else starts now.

    Raises:
        RunError: the server has no pgvector, or its tables are of a later version.
    """
    async with connection.transaction():
        await connection.execute("SELECT pg_advisory_xact_lock(%s)", [LOCK])
        await connection.execute(f"CREATE SCHEMA IF NOT EXISTS {SCHEMA}")
        await _extension(connection)
        await connection.execute(
            f"CREATE TABLE IF NOT EXISTS {SCHEMA}.migrations (version integer PRIMARY KEY)"
        )
        found = await connection.execute(
            f"SELECT coalesce(max(version), 0) FROM {SCHEMA}.migrations"  # noqa: S608 - a constant
        )
        (version,) = await found.fetchone() or (0,)
        if version > len(MIGRATIONS):
            raise RunError(
                f"the tables in schema {SCHEMA!r} are of version {version}, this Teola knows "
                f"version {len(MIGRATIONS)}: update Teola"
            )
        for number, statements in enumerate(MIGRATIONS[version:], version + 1):
            await connection.execute(f"SET LOCAL search_path TO {SCHEMA}, public")
            await connection.execute(statements)
            await connection.execute(
                f"INSERT INTO {SCHEMA}.migrations VALUES (%s)",  # noqa: S608 - a constant
                [number],
            )


async def _extension(connection: AsyncConnection[Any]) -> None:
    from psycopg import DatabaseError

    there = await connection.execute("SELECT FROM pg_extension WHERE extname = 'vector'")
    if await there.fetchone() is not None:
        return
    try:
        await connection.execute("CREATE EXTENSION vector")
    except DatabaseError as error:
        raise RunError(
            f"the database has no pgvector ({error}): install it on the server, and let an "
            "administrator run CREATE EXTENSION vector"
        ) from error
