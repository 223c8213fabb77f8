"""The engine: a pool of connections, and a connection of its own that says that it lives."""

from __future__ import annotations

import asyncio
import os
import secrets
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from teola.runtime.engines.collections.index_settings import IndexSettings
from teola.runtime.engines.collections.search import unlike
from teola.runtime.engines.collections.store import UNNAMED, CollectionStore
from teola.runtime.engines.collections.version import Change
from teola.runtime.engines.protocol import Capabilities, Failure, Request
from teola.runtime.errors import RunError, UnsupportedError

if TYPE_CHECKING:
    from psycopg import AsyncConnection
    from psycopg_pool import AsyncConnectionPool


MAX_ITEMS = 256
MIN_ITEMS = 8
"""So few searches are not worth a connection of their own."""


class PostgresStore(CollectionStore):
    """Collections in a database: published in one transaction, searched in one statement.

    Those without a name are this engine's: whoever starts later drops what is left of an engine
    that did not live to do so.
    """

    def __init__(self, config: Mapping[str, Any]) -> None:
        super().__init__()
        self._variable = str(config.get("url_env") or "DATABASE_URL")
        self._connections = int(config.get("connections") or 4)
        self._settings = IndexSettings.of(config)
        self._language = str(config.get("language") or "english")
        self._owner = secrets.randbits(62)
        self._pool: AsyncConnectionPool[AsyncConnection[Any]] | None = None
        self._alive: AsyncConnection[Any] | None = None

    async def start(self) -> Capabilities:
        """Connect, and bring the tables to this version.

        Raises:
            RunError: there is no driver, no URL, no server or no pgvector.
        """
        try:
            from psycopg import AsyncConnection, OperationalError
            from psycopg_pool import AsyncConnectionPool
        except ModuleNotFoundError as error:
            raise RunError(
                f"a store on postgres needs {error.name}: pip install 'teola[postgres]'"
            ) from error
        url = os.environ.get(self._variable)
        if not url:
            raise RunError(
                f"the environment has no {self._variable}: the URL of the database, as "
                "postgresql://user:password@host/database"
            )
        try:
            self._alive = await AsyncConnection.connect(url, autocommit=True)
        except OperationalError as error:
            raise RunError(f"no database at the URL in {self._variable}: {error}") from error
        pool = AsyncConnectionPool(
            url,
            min_size=1,
            max_size=self._connections,
            open=False,
            check=AsyncConnectionPool.check_connection,
        )
        try:
            await self._begin(self._alive, pool)
        except BaseException:
            await pool.close()
            await self.close()
            raise
        return Capabilities(max_items=MAX_ITEMS, details=self._settings.fixed())

    async def _begin(self, alive: AsyncConnection[Any], pool: AsyncConnectionPool[Any]) -> None:
        from teola.runtime.engines.postgres.schema import migrate

        await migrate(alive)
        await alive.execute("SELECT pg_advisory_lock(%s)", [self._owner])
        await pool.open(wait=True)
        self._pool = pool
        await self._bury()

    async def close(self) -> None:
        """Drop what has no name, and part."""
        self._pending.clear()
        if self._pool is not None:
            await self._drop_of(self._owner)
            await self._pool.close()
        if self._alive is not None:
            await self._alive.close()
        self._pool = self._alive = None

    async def _bury(self) -> None:
        """Drop the unnamed collections of engines that are no more."""
        from teola.runtime.engines.postgres.catalog import owners

        async with self._transaction() as connection:
            for owner in await owners(connection):
                found = await connection.execute("SELECT pg_try_advisory_xact_lock(%s)", [owner])
                if (await found.fetchone() or (False,))[0]:
                    await self._drop_of(owner)

    async def _drop_of(self, owner: int) -> None:
        from teola.runtime.engines.postgres.catalog import drop, owned

        async with self._transaction() as connection:
            for collection in await owned(connection, owner):
                await drop(connection, collection)

    @asynccontextmanager
    async def _transaction(self) -> AsyncIterator[AsyncConnection[Any]]:
        if self._pool is None:
            raise UnsupportedError("the store has not been started")
        async with self._pool.connection() as connection:
            yield connection

    def _name(self, name: str) -> str:
        """What a collection is called in the database: those without a name are of one engine."""
        return f"{UNNAMED}{self._owner}{name}" if name[:1] == UNNAMED else name

    def _built(self, mode: str) -> dict[str, Any]:
        vectors = {} if mode == "keyword" else self._settings.fixed()
        return vectors if mode == "dense" else {**vectors, "language": self._language}

    async def _search(self, request: Request) -> Sequence[Any] | Failure:
        """As many connections share the items as there are, but none has only a few."""
        items = request.items
        size = max(MIN_ITEMS, -(-len(items) // self._connections))
        parts = [
            Request(request.operation, items[at : at + size], request.common)
            for at in range(0, max(1, len(items)), size)
        ]
        try:
            found = await asyncio.gather(*map(self._found, parts))
        except RunError as error:
            return Failure("item", str(error))
        return [one for part in found for one in part]

    async def _found(self, request: Request) -> Sequence[Any]:
        """What items find, which go to the server together."""
        from teola.runtime.engines.postgres.catalog import find
        from teola.runtime.engines.postgres.publication import check_built
        from teola.runtime.engines.postgres.searches import found_by

        name, by_words = request.common["collection"], request.operation == "keyword_search"
        async with self._transaction() as connection:
            collection = await find(connection, self._name(name))
            if collection is None:
                raise RunError(f"there is no collection {name!r}{await self._known(connection)}")
            check_built(name, collection, self._built(collection.mode))
            if collection.mode == ("dense" if by_words else "keyword"):
                what = "words" if by_words else "embeddings"
                raise RunError(
                    f"collection {name!r} has the mode {collection.mode}: it cannot be searched by "
                    f"{what}"
                )
            if not collection.filled or request.common["top_k"] < 1:
                return [[] for _ in request.items]
            problems = [
                None if by_words else unlike(name, one, collection.dimension)
                for one in request.items
            ]
            fine = [one for one, bad in zip(request.items, problems, strict=True) if bad is None]
            asked = Request(request.operation, fine, request.common)
            found = iter(await found_by(connection, collection, asked, self._settings))
            return [bad or next(found) for bad in problems]

    async def _known(self, connection: AsyncConnection[Any]) -> str:
        from teola.runtime.engines.postgres.catalog import names

        known = ", ".join(repr(name) for name in await names(connection, None))
        return f": there are {known}" if known else ""

    async def _bring(self, name: str, change: Change) -> int:
        from teola.runtime.engines.postgres.publication import published

        owner = self._owner if name[:1] == UNNAMED else None
        async with self._transaction() as connection:
            return await published(
                connection, name, self._name(name), change, self._built(change.mode), owner
            )

    async def _drop(self, name: str) -> bool:
        from teola.runtime.engines.postgres.catalog import drop, find

        async with self._transaction() as connection:
            collection = await find(connection, self._name(name), lock=True)
            if collection is not None:
                await drop(connection, collection)
            return collection is not None

    async def _describe(self, name: str | None) -> Any:
        from teola.runtime.engines.postgres.catalog import describe, names

        async with self._transaction() as connection:
            if name is not None:
                return await describe(connection, self._name(name))
            mine = f"{UNNAMED}{self._owner}"
            return {
                "collections": {
                    one.removeprefix(mine): await describe(connection, one)
                    for one in await names(connection, self._owner)
                },
                "pending": sorted(self._pending),
            }
