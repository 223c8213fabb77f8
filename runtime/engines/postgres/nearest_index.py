"""The index of a collection's embeddings, made in memory where that is not too much."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from psycopg.errors import Diagnostic, DiskFull
from psycopg.sql import SQL, Composed, Identifier, Literal

from teola.runtime.engines.postgres.catalog import Collection, Connection
from teola.runtime.engines.postgres.schema import SCHEMA

logger = logging.getLogger(__name__)

OPERATORS: Mapping[str, tuple[str, str]] = {
    "cosine": ("<=>", "vector_cosine_ops"),
    "inner_product": ("<#>", "vector_ip_ops"),
    "l2": ("<->", "vector_l2_ops"),
}
"""Metric -> how two embeddings are compared, and what an index of them is made with."""
MOST_BYTES = 1 << 30
"""Memory for making an index, at most, unless the server's ``maintenance_work_mem`` is more."""
SPARE_BYTES = 16 << 20
MOST_LISTS = 32_768


async def indexed(connection: Connection, collection: Collection, count: int) -> int:
    """Make the index of embeddings where there is none, or where clusters were made for another
    number of chunks by far; return the number that it is made for."""
    made, kind = collection.indexed, collection.built.get("index", "flat")
    if kind == "flat" or not count or (made and (kind == "hnsw" or made / 2 <= count <= made * 2)):
        return made
    old = Identifier(SCHEMA, f"nearest_{collection.id}_{made}")
    await connection.execute(SQL("DROP INDEX IF EXISTS {}").format(old))
    lists = _lists(collection.built, count)
    await connection.execute(
        "SELECT set_config('maintenance_work_mem', greatest(%s, "
        "pg_size_bytes(current_setting('maintenance_work_mem'))) / 1024 || 'kB', true)",
        [min(MOST_BYTES, SPARE_BYTES + _needed_bytes(collection, count, lists))],
    )
    await _make(connection, _statement(collection, count, lists))
    return count


def _lists(built: Mapping[str, Any], count: int) -> int:
    """How many clusters pgvector's guidelines want."""
    lists = built.get("nlist") or round(count / 1000 if count <= 1_000_000 else count**0.5)
    return min(MOST_LISTS, max(1, lists))


def _needed_bytes(collection: Collection, count: int, lists: int) -> int:
    """About what pgvector holds in memory: a graph beyond that is made far more slowly, and
    clusters beyond it not at all."""
    vector = 4 * collection.dimension + 8
    if collection.built["index"] == "hnsw":
        return count * (vector + 32 * int(collection.built["m"]) + 400)
    samples = min(count, max(10_000, 50 * lists))
    return samples * (vector + 4 * lists + 16) + lists * (4 * lists + 3 * vector)


def _statement(collection: Collection, count: int, lists: int) -> Composed:
    built, options = collection.built, SQL("lists = {}").format(Literal(lists))
    if built["index"] == "hnsw":
        options = SQL("m = {}, ef_construction = {}").format(
            Literal(built["m"]), Literal(built["ef_construction"])
        )
    return SQL("CREATE INDEX {} ON {} USING {} (embedding {}) WITH ({})").format(
        Identifier(f"nearest_{collection.id}_{count}"),
        collection.table,
        SQL("hnsw" if built["index"] == "hnsw" else "ivfflat"),
        SQL(OPERATORS[built["metric"]][1]),
        options,
    )


async def _make(connection: Connection, statement: Composed) -> None:
    connection.add_notice_handler(_tell)
    try:
        async with connection.transaction():
            await connection.execute(statement)
    except DiskFull:  # workers share memory, of which containers have little; one alone needs none
        await connection.execute("SET LOCAL max_parallel_maintenance_workers = 0")
        await connection.execute(statement)
    finally:
        connection.remove_notice_handler(_tell)


def _tell(notice: Diagnostic) -> None:
    logger.warning("PostgreSQL, of an index: %s. %s", notice.message_primary, notice.message_hint)
