"""The table of collections: what there is, and whose."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from psycopg import AsyncConnection
from psycopg.sql import SQL, Identifier

from teola.runtime.engines.collections.version import Change
from teola.runtime.engines.postgres.schema import SCHEMA
from teola.runtime.errors import RunError

Connection: TypeAlias = AsyncConnection[Any]


@dataclass(frozen=True, slots=True)
class Collection:
    """A row of ``collections``. ``filled``: it has a table of chunks; ``indexed``: the number of
    chunks that its index was made for; ``version``: another one after each publication."""

    id: int
    mode: str
    fingerprint: str | None
    dimension: int
    built: Mapping[str, Any]
    filled: bool
    indexed: int
    version: str

    @property
    def table(self) -> Identifier:
        """Its chunks."""
        return Identifier(SCHEMA, f"chunks_{self.id}")


_COLUMNS = SQL("id, mode, fingerprint, dimension, built, filled, indexed, xmin::text")


async def find(connection: Connection, name: str, *, lock: bool = False) -> Collection | None:
    """The collection of a name; ``lock``: nobody else changes it before the transaction ends."""
    found = await connection.execute(
        SQL("SELECT {} FROM {} WHERE name = %s {}").format(
            _COLUMNS, _collections(), SQL("FOR UPDATE" if lock else "")
        ),
        [name],
    )
    row = await found.fetchone()
    return None if row is None else Collection(*row)


async def found_or_made(
    connection: Connection, name: str, change: Change, built: Mapping[str, Any], owner: int | None
) -> Collection:
    """The collection of a name, locked."""
    await connection.execute(
        SQL(
            "INSERT INTO {} (name, owner, mode, fingerprint, built) VALUES (%s, %s, %s, %s, %s) "
            "ON CONFLICT (name) DO NOTHING"
        ).format(_collections()),
        [name, owner, change.mode, change.fingerprint, json.dumps(built)],
    )
    collection = await find(connection, name, lock=True)
    if collection is None:
        raise RunError(f"collection {name!r} was dropped while it was published: try again")
    return collection


async def settle(connection: Connection, collection: Collection, fingerprint: str | None) -> None:
    """Write down what a collection has become, and whose embeddings it holds if that is new."""
    await connection.execute(
        SQL(
            "UPDATE {} SET dimension = %s, indexed = %s, filled = %s, "
            "fingerprint = coalesce(fingerprint, %s) WHERE id = %s"
        ).format(_collections()),
        [collection.dimension, collection.indexed, collection.filled, fingerprint, collection.id],
    )


async def drop(connection: Connection, name: str) -> bool:
    """Remove the collection of a name; False where there is none."""
    collection = await find(connection, name, lock=True)
    if collection is None:
        return False
    await connection.execute(SQL("DROP TABLE IF EXISTS {}").format(collection.table))
    await connection.execute(
        SQL("DELETE FROM {} WHERE id = %s").format(_collections()), [collection.id]
    )
    return True


async def describe(connection: Connection, name: str) -> dict[str, Any] | None:
    """How many chunks, of which dimension (0: none yet), made by which embedder."""
    collection = await find(connection, name)
    if collection is None:
        return None
    return {
        "count": await count(connection, collection) if collection.filled else 0,
        "dimension": collection.dimension,
        "fingerprint": collection.fingerprint,
    }


async def names(connection: Connection, owner: int | None) -> list[str]:
    """The collections that have a name, and those of an owner."""
    found = await connection.execute(
        SQL("SELECT name FROM {} WHERE owner IS NULL OR owner = %s ORDER BY name").format(
            _collections()
        ),
        [owner],
    )
    return [name for (name,) in await found.fetchall()]


async def owners(connection: Connection) -> list[int]:
    """Whose collections without a name there are."""
    found = await connection.execute(
        SQL("SELECT DISTINCT owner FROM {} WHERE owner IS NOT NULL").format(_collections())
    )
    return [owner for (owner,) in await found.fetchall()]


async def owned(connection: Connection, owner: int) -> list[str]:
    """What the collections without a name of an owner are called."""
    found = await connection.execute(
        SQL("SELECT name FROM {} WHERE owner = %s").format(_collections()), [owner]
    )
    return [name for (name,) in await found.fetchall()]


async def count(connection: Connection, collection: Collection) -> int:
    """How many chunks a collection has that is filled."""
    found = await connection.execute(SQL("SELECT count(*) FROM {}").format(collection.table))
    return int((await found.fetchone() or (0,))[0])


def _collections() -> Identifier:
    return Identifier(SCHEMA, "collections")
