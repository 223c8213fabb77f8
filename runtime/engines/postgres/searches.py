"""What searches are in SQL: one statement each, which sees one version, whole."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from psycopg.sql import SQL, Composed, Literal

from teola.runtime.engines.collections.vector_index import IndexSettings
from teola.runtime.engines.postgres.tables import OPERATORS, Collection, Connection, as_vector
from teola.runtime.engines.postgres.where import condition

_BY_PLACE = SQL('document COLLATE "C", place, id COLLATE "C"')
_SCORES = {
    "cosine": SQL("1 - coalesce(nullif(distance, 'NaN'), 1)"),
    "inner_product": SQL("0 - distance"),
    "l2": SQL("0 - distance * distance"),
}


async def prepare(connection: Connection, settings: IndexSettings) -> None:
    """How the index is searched, until the transaction ends. With a condition it is searched on
    until enough is found."""
    if settings.kind == "hnsw":
        await connection.execute(
            SQL(
                "SET LOCAL hnsw.ef_search = {}; SET LOCAL hnsw.iterative_scan = strict_order"
            ).format(Literal(min(1000, settings.ef_search)))
        )
    if settings.kind == "ivf":
        await connection.execute(
            SQL(
                "SET LOCAL ivfflat.probes = {}; SET LOCAL ivfflat.iterative_scan = relaxed_order"
            ).format(Literal(settings.nprobe))
        )


async def nearest(
    connection: Connection, collection: Collection, query: Any, common: Mapping[str, Any]
) -> list[dict[str, Any]]:
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
    return await _passages(
        connection,
        SQL(
            "SELECT chunk, {score} AS score FROM ({inner}) AS found ORDER BY score DESC, {place} "
            "LIMIT %s"
        ).format(score=_SCORES[metric], inner=inner, place=_BY_PLACE),
        [*parameters, top_k],
        common,
    )


async def with_words(
    connection: Connection, collection: Collection, query: str, common: Mapping[str, Any]
) -> list[dict[str, Any]]:
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
    parameters = [query.replace("\0", " "), *values, common["top_k"]]
    return await _passages(connection, statement, parameters, common)


def _condition(common: Mapping[str, Any]) -> tuple[Composed, list[Any]]:
    where = common.get("where")
    text, values = ("true", []) if where is None else condition(where)
    return Composed([SQL(text)]), values


async def _passages(
    connection: Connection, statement: Composed, parameters: list[Any], common: Mapping[str, Any]
) -> list[dict[str, Any]]:
    found = await connection.execute(statement, parameters)
    least = common.get("min_score")
    return [
        {**chunk, "score": float(score), "rank": rank}
        for rank, (chunk, score) in enumerate(await found.fetchall(), 1)
        if least is None or score >= least
    ]
