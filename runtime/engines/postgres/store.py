"""The engine: collections in a database, those without a name for as long as it lives."""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from teola.runtime.engines.collections.index_settings import IndexSettings
from teola.runtime.engines.collections.search import unknown, unlike, unsearchable
from teola.runtime.engines.collections.store import UNNAMED, CollectionStore
from teola.runtime.engines.collections.version import Change
from teola.runtime.engines.protocol import Capabilities, Failure, Request
from teola.runtime.errors import RunError, UnsupportedError
from teola.runtime.hosts.errors import EngineDied

if TYPE_CHECKING:
    from teola.runtime.engines.postgres.catalog import Collection, Connection
    from teola.runtime.engines.postgres.database import Database
    from teola.runtime.engines.postgres.life import Life

logger = logging.getLogger(__name__)

MAX_ITEMS = 256
MIN_ITEMS = 8
"""So few searches are not worth a connection of their own."""
PATIENCE_S = 5.0
"""So long an engine may be without a connection before another takes it for dead."""
PARTING_S = 3.0


class PostgresStore(CollectionStore):
    """Collections in a database: published in one transaction, searched in one snapshot.

    Those without a name are this engine's: whoever starts later drops what is left of an engine
    that did not live to do so. One that was taken for dead though it lives has died when it finds
    out.
    """

    def __init__(self, config: Mapping[str, Any]) -> None:
        super().__init__()
        self._variable = str(config.get("url_env") or "DATABASE_URL")
        self._connections = int(config.get("connections") or 4)
        self._settings = IndexSettings.of(config)
        self._language = str(config.get("language") or "english")
        self._owner = secrets.randbits(62)
        self._unnamed: set[str] = set()
        self._opened: tuple[Database, Life] | None = None

    @property
    def _database(self) -> Database:
        if self._opened is None:
            raise UnsupportedError("the store has not been started")
        return self._opened[0]

    async def start(self) -> Capabilities:
        """Connect, and bring the tables to this version.

        Raises:
            RunError: there is no driver, no URL, no server, or no pgvector that will do.
        """
        try:
            from psycopg import Error

            from teola.runtime.engines.postgres.database import Database
            from teola.runtime.engines.postgres.life import Life
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
            self._opened = Database(url, self._connections), Life(url, self._owner)
            await self._begin(*self._opened)
        except BaseException as error:
            await self.close()
            if isinstance(error, Error):
                raise RunError(
                    f"the database at the URL in {self._variable} cannot be used: {error}"
                ) from error
            raise
        return Capabilities(max_items=MAX_ITEMS, details=self._settings.fixed())

    async def _begin(self, database: Database, life: Life) -> None:
        from teola.runtime.engines.postgres.schema import migrate

        connection = await life.begin()
        await migrate(connection)
        await database.open()
        await self._bury(connection)
        life.keep()

    async def _bury(self, connection: Connection) -> None:
        """Drop the unnamed collections of engines that are no more. One that lost its connection
        has a while to come back."""
        from teola.runtime.engines.postgres.catalog import drop, owned, owners
        from teola.runtime.engines.postgres.life import dead

        missed = [one async for one in dead(connection, await owners(connection))]
        if missed:
            await asyncio.sleep(PATIENCE_S)
        async for owner in dead(connection, missed):
            for name in await owned(connection, owner):
                await self._database.write(partial(drop, name=name))

    async def close(self) -> None:
        """Drop what has no name, and part."""
        self._pending.clear()
        if self._opened is None:
            return
        database, life = self._opened
        try:
            async with asyncio.timeout(PARTING_S):
                for name in list(self._unnamed):
                    await self._drop(name)
        except (TimeoutError, RunError) as error:
            logger.warning("the next engine drops what this one leaves in PostgreSQL: %s", error)
        finally:
            self._opened = None
            await database.close()
            await life.end()

    def _name(self, name: str) -> str:
        """What a collection is called in the database: those without a name are of one engine."""
        return f"{UNNAMED}{self._owner}{name}" if name[:1] == UNNAMED else name

    def _built(self, mode: str) -> dict[str, Any]:
        vectors = {} if mode == "keyword" else self._settings.fixed()
        return vectors if mode == "dense" else {**vectors, "language": self._language}

    async def _find(
        self, connection: Connection, name: str, *, lock: bool = False
    ) -> Collection | None:
        """The collection of a name.

        Raises:
            EngineDied: it is this engine's, and another has dropped it.
        """
        from teola.runtime.engines.postgres.catalog import find

        collection = await find(connection, self._name(name), lock=lock)
        if collection is None and name in self._unnamed:
            raise EngineDied(
                "PostgreSQL could not be reached for so long that another engine took this one for "
                "dead, and dropped its collections that have no name"
            )
        return collection

    async def _search(self, request: Request) -> Sequence[Any] | Failure:
        """As many connections share the items as there are, but none has only a few. Where they
        see different versions, one of them does all."""
        from teola.runtime.engines.postgres.database import DatabaseFailure

        items = request.items
        size = max(MIN_ITEMS, -(-len(items) // self._connections))
        parts = [
            partial(self._found, request=request._replace(items=items[at : at + size]))
            for at in range(0, max(1, len(items)), size)
        ]
        try:
            found = await asyncio.gather(*map(self._database.read, parts))
            if len({version for version, _ in found}) > 1:
                found = [await self._database.read(partial(self._found, request=request))]
        except EngineDied:
            raise
        except DatabaseFailure as error:
            return Failure("engine", str(error))
        except RunError as error:
            return Failure("item", str(error))
        return [one for _, part in found for one in part]

    async def _found(
        self, connection: Connection, request: Request
    ) -> tuple[str, Sequence[list[Any] | Failure]]:
        """What items find, which go to the server together, and in which version."""
        from teola.runtime.engines.postgres.catalog import names
        from teola.runtime.engines.postgres.publication import check_built
        from teola.runtime.engines.postgres.searches import found_by

        name, operation = request.common["collection"], request.operation
        collection = await self._find(connection, name)
        if collection is None:
            raise RunError(unknown(name, await names(connection, None)))
        check_built(name, collection, self._built(collection.mode))
        if problem := unsearchable(name, collection.mode, operation):
            raise RunError(problem)
        items = request.items
        problems: list[Failure | None] = [None] * len(items)
        if operation == "search":
            dimension = collection.dimension if collection.filled else None
            items = [np.asarray(one, np.float32) for one in items]
            problems = [unlike(name, one, dimension) for one in items]
        if not collection.filled or request.common["top_k"] < 1:
            return collection.version, [bad or [] for bad in problems]
        fine = [one for one, bad in zip(items, problems, strict=True) if bad is None]
        asked = request._replace(items=fine)
        found = iter(await found_by(connection, collection, asked, self._settings))
        return collection.version, [bad or next(found) for bad in problems]

    async def _bring(self, name: str, change: Change) -> int:
        count = await self._database.write(partial(self._published, name=name, change=change))
        if name[:1] == UNNAMED:
            self._unnamed.add(name)
        return count

    async def _published(self, connection: Connection, name: str, change: Change) -> int:
        from teola.runtime.engines.postgres.publication import published

        await self._find(connection, name, lock=True)
        owner = self._owner if name[:1] == UNNAMED else None
        return await published(
            connection, name, self._name(name), change, self._built(change.mode), owner
        )

    async def _drop(self, name: str) -> bool:
        from teola.runtime.engines.postgres.catalog import drop

        self._unnamed.discard(name)
        return await self._database.write(partial(drop, name=self._name(name)))

    async def _describe(self, name: str | None) -> Any:
        return await self._database.read(partial(self._described, name=name))

    async def _described(self, connection: Connection, name: str | None) -> Any:
        from teola.runtime.engines.postgres.catalog import describe, names

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
