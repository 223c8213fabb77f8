"""What searches are in SQL: one statement each, which sees one version, whole."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from psycopg.sql import SQL, Composed, Literal

from teola.runtime.engines.collections.index_settings import IndexSettings
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
    by_words = request.operation == "keyword_search"
    statement = with_words if by_words else nearest
    async with connection.pipeline():
        for setting in () if by_words else how_to_search(settings):
            await connection.execute(setting)
        cursors = [
            await connection.execute(*statement(collection, item, request.common))
            for item in request.items
        ]
    return [_passages(await cursor.fetchall(), request.common) for cursor in cursors]


def how_to_search(settings: IndexSettings) -> list[Composed | SQL]:
    """What sets how the index is searched, until the transaction ends. With a condition it is
    searched on until enough is found."""
    if settings.kind == "hnsw":
        return [
            SQL("SET LOCAL hnsw.ef_search = {}").format(Literal(min(1000, settings.ef_search))),
            SQL("SET LOCAL hnsw.iterative_scan = strict_order"),
        ]
    if settings.kind == "ivf":
        return [
            SQL("SET LOCAL ivfflat.probes = {}").format(Literal(settings.nprobe)),
            SQL("SET LOCAL ivfflat.iterative_scan = relaxed_order"),
        ]
    return []


def nearest(collection: Collection, query: Any, common: Mapping[str, Any]) -> Search:
    """The passages nearest to an embedding."""
    metric = collection.built["metric"]
    allowed, values = _condition(common)
    inner = SQL(
        "SELECT chunk, document, place, id, embedding {} %s::vector AS distance FROM {} WHERE {}"
    ).format(SQL(OPERATORS[metric][0]), collection.table, allowed)
    vector, top_k = as_vector(query), common["top_k"]
    parameters = [vector, *values]
    if collection.built["index"] != "flat":
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
