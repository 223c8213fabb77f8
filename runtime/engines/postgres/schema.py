"""The tables of the store, and how older ones become these."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from teola.runtime.errors import RunError

if TYPE_CHECKING:
    from psycopg import AsyncConnection

SCHEMA = "teola"
LOCK = 7_346_001
"""Whoever changes the tables holds this advisory lock."""

PGVECTOR = (0, 8)
"""Of this version are searches that go on until a condition has let enough through."""
_NEEDED = ".".join(map(str, PGVECTOR))

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
        RunError: the server has no pgvector or an older one, its tables are of a later version, or
            a step failed. All is as it was.
    """
    async with connection.transaction():
        await connection.execute("SELECT pg_advisory_xact_lock(%s)", [LOCK])
        version = await _version(connection)
        if version > len(MIGRATIONS):
            raise RunError(
                f"the tables in schema {SCHEMA!r} are of version {version}, this Teola knows "
                f"version {len(MIGRATIONS)}: update Teola"
            )
        await _require_pgvector(connection)
        for number, statements in enumerate(MIGRATIONS[version:], version + 1):
            await _take(connection, number, statements)


async def _version(connection: AsyncConnection[Any]) -> int:
    """The version of the tables; 0 where there are none."""
    there = await connection.execute(
        "SELECT to_regnamespace(%s), to_regclass(%s)", [SCHEMA, f"{SCHEMA}.migrations"]
    )
    namespace, table = await there.fetchone() or (None, None)
    if namespace is None:
        await connection.execute(f"CREATE SCHEMA {SCHEMA}")
    if table is None:
        await connection.execute(f"CREATE TABLE {SCHEMA}.migrations (version integer PRIMARY KEY)")
    found = await connection.execute(
        f"SELECT coalesce(max(version), 0) FROM {SCHEMA}.migrations"  # noqa: S608 - a constant
    )
    (version,) = await found.fetchone() or (0,)
    return int(version)


async def _take(connection: AsyncConnection[Any], number: int, statements: str) -> None:
    """One step."""
    from psycopg import DatabaseError

    try:
        await connection.execute(f"SET LOCAL search_path TO {SCHEMA}, public")
        await connection.execute(statements)
        await connection.execute(
            f"INSERT INTO {SCHEMA}.migrations VALUES (%s)",  # noqa: S608 - a constant
            [number],
        )
    except DatabaseError as error:
        raise RunError(
            f"the tables in schema {SCHEMA!r} are as they were: they could not be brought to "
            f"version {number} ({error})"
        ) from error


async def _require_pgvector(connection: AsyncConnection[Any]) -> None:
    from psycopg import DatabaseError

    asked = "SELECT extversion FROM pg_extension WHERE extname = 'vector'"
    row = await (await connection.execute(asked)).fetchone()
    if row is None:
        try:
            await connection.execute("CREATE EXTENSION vector")
        except DatabaseError as error:
            raise RunError(
                f"the database has no pgvector ({error}): install pgvector {_NEEDED} or later on "
                "the server, and let an administrator run CREATE EXTENSION vector"
            ) from error
        row = await (await connection.execute(asked)).fetchone()
    (version,) = row or ("",)
    if tuple(map(int, re.findall(r"\d+", version))) < PGVECTOR:
        raise RunError(
            f"the database has pgvector {version}, the store needs {_NEEDED} or later: install it "
            "on the server, and let an administrator run ALTER EXTENSION vector UPDATE"
        )
