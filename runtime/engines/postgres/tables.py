"""The tables of collections: what is read and written, statement by statement."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from psycopg import AsyncConnection
from psycopg.sql import SQL, Composable, Identifier, Literal

from teola.runtime.engines.collections.keyword_index import searched_text
from teola.runtime.engines.collections.version import Change, Row
from teola.runtime.engines.postgres.schema import SCHEMA
from teola.runtime.errors import RunError

Connection: TypeAlias = AsyncConnection[Any]
OPERATORS: Mapping[str, tuple[str, str]] = {
    "cosine": ("<=>", "vector_cosine_ops"),
    "inner_product": ("<#>", "vector_ip_ops"),
    "l2": ("<->", "vector_l2_ops"),
}
"""Metric -> how two embeddings are compared, and what an index of them is made with."""


@dataclass(frozen=True, slots=True)
class Collection:
    """A row of ``collections``. ``filled``: it has a table of chunks; ``indexed``: the number of
    chunks that its index was made for."""

    id: int
    mode: str
    fingerprint: str | None
    dimension: int
    built: Mapping[str, Any]
    filled: bool
    indexed: int

    @property
    def table(self) -> Identifier:
        """Its chunks."""
        return Identifier(SCHEMA, f"chunks_{self.id}")


_COLUMNS = SQL("id, mode, fingerprint, dimension, built, filled, indexed")


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


def check(name: str, collection: Collection, change: Change, built: Mapping[str, Any]) -> int:
    """Refuse what does not go into a collection; else the dimension of its embeddings.

    Raises:
        RunError: another mode, embedder, index or dimension than the collection's.
    """
    if collection.mode != change.mode:
        raise RunError(
            f"collection {name!r} has the mode {collection.mode}, not {change.mode}: index into "
            "another collection"
        )
    before, now = collection.fingerprint, change.fingerprint
    if None not in (before, now) and before != now:
        raise RunError(
            f"collection {name!r} holds vectors of embedder {before}, not of {now}: index into "
            "another collection"
        )
    check_built(name, collection, built)
    found = {0 if vector is None else len(vector) for _, vector in change.rows}
    if change.mode != "keyword" and 0 in found:
        raise RunError(f"collection {name!r} has the mode {change.mode}: embed its chunks")
    found |= {collection.dimension} if collection.filled else set()
    if len(found) > 1:
        raise RunError(
            f"collection {name!r} cannot hold vectors of dimensions "
            f"{', '.join(map(str, sorted(found)))} together: index into another collection"
        )
    return next(iter(found), 0)


def check_built(name: str, collection: Collection, built: Mapping[str, Any]) -> None:
    """Refuse a collection that was made with other settings than the store's.

    Raises:
        RunError: it was.
    """
    if dict(collection.built) != dict(built):
        theirs, mine = (
            ", ".join(f"{key}: {value}" for key, value in one.items())
            for one in (collection.built, built)
        )
        raise RunError(
            f"collection {name!r} was made with {theirs}, the store has {mine}: give the store the "
            "settings of the collection, or index into another one"
        )


async def create(connection: Connection, collection: Collection, dimension: int) -> None:
    """Make the table of a collection's chunks."""
    columns: list[Composable] = [
        SQL("id text PRIMARY KEY, document text NOT NULL, place integer NOT NULL"),
        SQL("chunk json NOT NULL, meta jsonb NOT NULL"),
    ]
    if collection.mode != "keyword":
        columns.append(SQL("embedding vector({}) NOT NULL").format(Literal(dimension)))
    if collection.mode != "dense":
        columns.append(
            SQL(
                "searched text NOT NULL, words tsvector "
                "GENERATED ALWAYS AS (to_tsvector({}::regconfig, searched)) STORED"
            ).format(Literal(collection.built["language"]))
        )
    table = collection.table
    await connection.execute(SQL("CREATE TABLE {} ({})").format(table, SQL(", ").join(columns)))
    await connection.execute(SQL("CREATE INDEX ON {} (document)").format(table))
    if collection.mode != "dense":
        await connection.execute(SQL("CREATE INDEX ON {} USING gin (words)").format(table))


async def replace(connection: Connection, collection: Collection, change: Change) -> None:
    """Put the rows of a change in the place of what is there of its documents."""
    named = sorted({*(chunk["document"] for chunk, _ in change.rows), *change.documents})
    found = await connection.execute(
        SQL("SELECT document, array_agg(id) FROM {} WHERE document = ANY(%s) GROUP BY 1").format(
            collection.table
        ),
        [named],
    )
    here = {document: set(ids) for document, ids in await found.fetchall()}
    there: dict[str, set[str]] = {}
    for chunk, _ in change.rows:
        there.setdefault(chunk["document"], set()).add(chunk["id"])
    changed = {one for one in named if here.get(one) != there.get(one)}
    await connection.execute(
        SQL("DELETE FROM {} WHERE document = ANY(%s)").format(collection.table), [sorted(changed)]
    )
    new = [row for row in change.rows if row[0]["document"] in changed]
    await _insert(connection, collection, new)


async def _insert(connection: Connection, collection: Collection, rows: Sequence[Row]) -> None:
    names = ["id", "document", "place", "chunk", "meta"]
    names += ["embedding"] if collection.mode != "keyword" else []
    names += ["searched"] if collection.mode != "dense" else []
    statement = SQL("COPY {} ({}) FROM STDIN").format(
        collection.table, SQL(", ").join(map(Identifier, names))
    )
    async with connection.cursor() as cursor, cursor.copy(statement) as copy:
        for chunk, vector in rows:
            await copy.write_row(_values(collection, chunk, vector))


def _values(collection: Collection, chunk: Mapping[str, Any], vector: Any) -> list[Any]:
    meta = json.dumps(chunk.get("meta") or {})
    values = [chunk["id"], chunk["document"], chunk.get("index") or 0, json.dumps(chunk), meta]
    if collection.mode != "keyword":
        values.append(as_vector(vector))
    if collection.mode != "dense":
        values.append(searched_text(chunk).replace("\0", " "))
    return values


def as_vector(vector: Any) -> str:
    """A vector as pgvector reads it."""
    return json.dumps([float(number) for number in vector])


async def index(connection: Connection, collection: Collection, count: int) -> int:
    """Make the index of embeddings where there is none, or where clusters were made for another
    number of chunks by far; return the number that it is made for."""
    built = collection.built
    kind = "flat" if collection.mode == "keyword" else built["index"]
    made = collection.indexed
    if kind == "flat" or not count or (made and (kind == "hnsw" or made / 2 <= count <= made * 2)):
        return made
    options = SQL("m = {}, ef_construction = {}").format(
        Literal(built.get("m")), Literal(built.get("ef_construction"))
    )
    if kind == "ivf":
        lists = built["nlist"] or round(count / 1000 if count <= 1_000_000 else count**0.5)
        options = SQL("lists = {}").format(Literal(min(32_768, max(1, lists))))
    old = Identifier(SCHEMA, f"nearest_{collection.id}_{made}")
    await connection.execute(SQL("DROP INDEX IF EXISTS {}").format(old))
    await connection.execute(
        SQL("CREATE INDEX {} ON {} USING {} (embedding {}) WITH ({})").format(
            Identifier(f"nearest_{collection.id}_{count}"),
            collection.table,
            SQL("hnsw" if kind == "hnsw" else "ivfflat"),
            SQL(OPERATORS[built["metric"]][1]),
            options,
        )
    )
    return count


async def drop(connection: Connection, collection: Collection) -> None:
    """Remove a collection."""
    await connection.execute(SQL("DROP TABLE IF EXISTS {}").format(collection.table))
    await connection.execute(
        SQL("DELETE FROM {} WHERE id = %s").format(_collections()), [collection.id]
    )


async def published(
    connection: Connection,
    name: str,
    stored_name: str,
    change: Change,
    built: Mapping[str, Any],
    owner: int | None,
) -> int:
    """Bring a change into a collection; return how many chunks it has then. All of it is seen when
    the transaction ends.

    Raises:
        RunError: it does not go into the collection.
    """
    collection = await found_or_made(connection, stored_name, change, built, owner)
    dimension = check(name, collection, change, built)
    filled = collection.filled or bool(change.rows)
    if filled and not collection.filled:
        await create(connection, collection, dimension)
    count, indexed = 0, 0
    if filled:
        await replace(connection, collection, change)
        count = await _count(connection, collection)
        indexed = await index(connection, collection, count)
    await connection.execute(
        SQL(
            "UPDATE {} SET dimension = %s, indexed = %s, filled = %s, "
            "fingerprint = coalesce(fingerprint, %s) WHERE id = %s"
        ).format(_collections()),
        [dimension, indexed, filled, change.fingerprint, collection.id],
    )
    return count


async def _count(connection: Connection, collection: Collection) -> int:
    found = await connection.execute(SQL("SELECT count(*) FROM {}").format(collection.table))
    return int((await found.fetchone() or (0,))[0])


async def describe(connection: Connection, name: str) -> dict[str, Any] | None:
    """How many chunks, of which dimension (0: none yet), made by which embedder."""
    collection = await find(connection, name)
    if collection is None:
        return None
    return {
        "count": await _count(connection, collection) if collection.filled else 0,
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


async def owned(connection: Connection, owner: int) -> list[Collection]:
    """The collections without a name of an owner."""
    found = await connection.execute(
        SQL("SELECT {} FROM {} WHERE owner = %s").format(_COLUMNS, _collections()), [owner]
    )
    return [Collection(*row) for row in await found.fetchall()]


def _collections() -> Identifier:
    return Identifier(SCHEMA, "collections")
