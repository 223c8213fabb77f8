"""What searches are in SQL: one statement each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from psycopg.sql import SQL, Composed, Literal

from teola.runtime.engines.collections.index_settings import EXACT_ROWS, IndexSettings
from teola.runtime.engines.postgres.catalog import Collection, Connection
from teola.runtime.engines.postgres.chunks import as_vector
from teola.runtime.engines.postgres.nearest_index import OPERATORS
from teola.runtime.engines.postgres.where import condition
from teola.runtime.engines.protocol import Request

Search: TypeAlias = tuple[Composed, list[Any]]
"""A statement, with its parameters."""

_BY_PLACE = SQL('document COLLATE "C", place, id COLLATE "C"')
_SCORES = {
    "cosine": SQL("1 - coalesce(nullif(distance, 'NaN'), 1)"),
    "inner_product": SQL("0 - distance"),
    "l2": SQL("0 - distance * distance"),
}


async def found_by(
    connection: Connection, collection: Collection, request: Request, settings: IndexSettings
) -> list[list[dict[str, Any]]]:
    """The passages that each item finds; all go to the server before the first answer is read."""
    common = request.common
    by_words = request.operation == "keyword_search"
    exact = by_words or await _few(connection, collection, common)
    async with connection.pipeline():
        for setting in () if exact else how_to_search(settings):
            await connection.execute(setting)
        cursors = [
            await connection.execute(
                *with_words(collection, item, common)
                if by_words
                else nearest(collection, item, common, exact=exact)
            )
            for item in request.items
        ]
    return [_passages(await cursor.fetchall(), common) for cursor in cursors]


async def _few(connection: Connection, collection: Collection, common: Mapping[str, Any]) -> bool:
    """Whether a condition leaves so few chunks that all of them are looked at: an index would give
    up before it comes to them."""
    if common.get("where") is None or collection.built["index"] == "flat":
        return False
    allowed, values = _condition(common)
    few = SQL("SELECT count(*) FROM (SELECT FROM {} WHERE {} LIMIT %s) AS few").format(
        collection.table, allowed
    )
    cursor = await connection.execute(few, [*values, EXACT_ROWS + 1])
    row = await cursor.fetchone()
    return row is not None and row[0] <= EXACT_ROWS


def how_to_search(settings: IndexSettings) -> list[Composed | SQL]:
    """What sets how the index is searched, until the transaction ends. With a condition it is
    searched on until enough is found."""
    if settings.kind == "hnsw":
        return [
            SQL("SET LOCAL hnsw.ef_search = {}").format(Literal(min(1000, settings.ef_search))),
            SQL("SET LOCAL hnsw.iterative_scan = strict_order"),
            SQL("SET LOCAL hnsw.max_scan_tuples = 2147483647"),
            SQL("SET LOCAL hnsw.scan_mem_multiplier = 1000"),
        ]
    if settings.kind == "ivf":
        return [
            SQL("SET LOCAL ivfflat.probes = {}").format(Literal(settings.nprobe)),
            SQL("SET LOCAL ivfflat.iterative_scan = relaxed_order"),
        ]
    return []


def nearest(
    collection: Collection, query: Any, common: Mapping[str, Any], *, exact: bool
) -> Search:
    """The passages nearest to an embedding; ``exact``: all are compared with it."""
    metric = collection.built["metric"]
    allowed, values = _condition(common)
    inner = SQL(
        "SELECT chunk, document, place, id, embedding {} %s::vector AS distance FROM {} WHERE {}"
    ).format(SQL(OPERATORS[metric][0]), collection.table, allowed)
    vector, top_k = as_vector(query), common["top_k"]
    parameters = [vector, *values]
    if collection.built["index"] != "flat" and not exact:
        inner = SQL("{} ORDER BY distance LIMIT %s").format(inner)
        parameters.append(top_k)
    statement = SQL(
        "SELECT chunk, {score} AS score FROM ({inner}) AS found ORDER BY score DESC, {place} "
        "LIMIT %s"
    ).format(score=_SCORES[metric], inner=inner, place=_BY_PLACE)
    return statement, [*parameters, top_k]


def with_words(collection: Collection, query: str, common: Mapping[str, Any]) -> Search:
    """The passages that have words of a text, those with most of them first (``ts_rank``)."""
    allowed, values = _condition(common)
    statement = SQL(
        "SELECT chunk, ts_rank(words, query, 1) AS score FROM {table}, "
        "(SELECT replace(plainto_tsquery({language}::regconfig, %s)::text, ' & ', ' | ')::tsquery "
        "AS query) AS asked WHERE words @@ query AND {allowed} "
        "ORDER BY score DESC, {place} LIMIT %s"
    ).format(
        table=collection.table,
        language=Literal(collection.built["language"]),
        allowed=allowed,
        place=_BY_PLACE,
    )
    return statement, [query.replace("\0", " "), *values, common["top_k"]]


def _condition(common: Mapping[str, Any]) -> tuple[Composed, list[Any]]:
    where = common.get("where")
    text, values = ("true", []) if where is None else condition(where)
    return Composed([SQL(text)]), values


def _passages(rows: Sequence[Any], common: Mapping[str, Any]) -> list[dict[str, Any]]:
    least = common.get("min_score")
    return [
        {**chunk, "score": float(score), "rank": rank}
        for rank, (chunk, score) in enumerate(rows, 1)
        if least is None or score >= least
    ]
