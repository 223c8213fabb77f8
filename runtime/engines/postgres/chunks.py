"""The chunks of a collection: a table of its own, for only embeddings of one dimension can be
indexed."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from psycopg.sql import SQL, Composable, Identifier, Literal

from teola.runtime.engines.collections.keyword_index import searched_text
from teola.runtime.engines.collections.version import Change, Row
from teola.runtime.engines.postgres.catalog import Collection, Connection


async def create(connection: Connection, collection: Collection) -> None:
    """Make the table."""
    columns: list[Composable] = [
        SQL("id text PRIMARY KEY, document text NOT NULL, place integer NOT NULL"),
        SQL("chunk json NOT NULL, meta jsonb NOT NULL"),
    ]
    if collection.mode != "keyword":
        columns.append(SQL("embedding vector({}) NOT NULL").format(Literal(collection.dimension)))
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
