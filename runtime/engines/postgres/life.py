"""How engines know of each other whether they live: each holds a lock on its own connection."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from typing import Any

from psycopg import AsyncConnection, Error
from psycopg.conninfo import conninfo_to_dict

from teola.runtime.engines.postgres.catalog import Connection

logger = logging.getLogger(__name__)

FIRST_WAIT_S = 0.1
MOST_WAIT_S = 1.0
"""Between attempts to connect again: well within the time that others wait before they take an
engine for dead."""
KEEPALIVE: dict[str, Any] = {"keepalives_idle": 15, "keepalives_interval": 5}
"""So soon a server is missed that went without a word, unless the URL says otherwise."""


class Life:
    """A connection that holds an advisory lock, ``owner``: who can take it knows that the engine
    is no more. A connection that ends is replaced, and the lock taken again."""

    def __init__(self, url: str, owner: int) -> None:
        self._owner = owner
        self._parameters = {**KEEPALIVE, **conninfo_to_dict(url)}
        self._connection: Connection | None = None
        self._watch: asyncio.Task[None] | None = None

    async def begin(self) -> Connection:
        """Connect and take the lock. The connection is free for other use until `keep`."""
        self._connection = await self._held()
        return self._connection

    def keep(self) -> None:
        """From now on, hold the lock whatever happens to the connection."""
        self._watch = asyncio.create_task(self._kept())

    async def end(self) -> None:
        """Be no more."""
        if self._watch is not None:
            self._watch.cancel()
            await asyncio.gather(self._watch, return_exceptions=True)
        if self._connection is not None:
            await self._connection.close()

    async def _kept(self) -> None:
        while self._connection is not None:
            await _ended(self._connection)
            logger.warning("PostgreSQL ended a connection: connecting again")
            await self._connection.close()
            self._connection = await self._again()
            logger.warning("connected to PostgreSQL again")

    async def _again(self) -> Connection:
        wait_s = FIRST_WAIT_S
        while True:
            try:
                return await self._held()
            except (Error, OSError) as error:
                logger.info("PostgreSQL is away: %s", error)
                await asyncio.sleep(wait_s)
                wait_s = min(2 * wait_s, MOST_WAIT_S)

    async def _held(self) -> Connection:
        """A connection that has the lock. One that the server still believes in may have it for
        a while: then it passes on from that."""
        connection = await AsyncConnection.connect(**self._parameters, autocommit=True)
        try:
            await connection.execute("SELECT pg_advisory_lock(%s)", [self._owner])
        except BaseException:
            await connection.close()
            raise
        return connection


async def dead(connection: Connection, owners: Sequence[int]) -> AsyncIterator[int]:
    """Those of ``owners`` that live no more, one by one: none comes back before the next."""
    for owner in owners:
        found = await connection.execute("SELECT pg_try_advisory_lock(%s)", [owner])
        if (await found.fetchone() or (False,))[0]:
            yield owner
            await connection.execute("SELECT pg_advisory_unlock(%s)", [owner])


async def _ended(connection: Connection) -> None:
    """Wait until a connection has ended, whose server has nothing else to say."""
    loop = asyncio.get_running_loop()
    while not connection.closed:
        said = asyncio.Event()
        number = connection.fileno()
        loop.add_reader(number, said.set)
        try:
            await said.wait()
        finally:
            loop.remove_reader(number)
        with suppress(Error):  # one that has ended says so here, and is closed then
            await connection.execute("")
