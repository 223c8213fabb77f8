"""A change becomes part of a collection, or is refused."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from teola.runtime.engines.collections.version import Change
from teola.runtime.engines.postgres import chunks
from teola.runtime.engines.postgres.catalog import (
    Collection,
    Connection,
    count,
    found_or_made,
    settle,
)
from teola.runtime.engines.postgres.nearest_index import indexed
from teola.runtime.errors import RunError


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
    if change.rows and not collection.filled:
        collection = replace(collection, dimension=dimension, filled=True)
        await chunks.create(connection, collection)
    there = 0
    if collection.filled:
        await chunks.replace(connection, collection, change)
        there = await count(connection, collection)
        collection = replace(collection, indexed=await indexed(connection, collection, there))
    await settle(connection, collection, change.fingerprint)
    return there


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
