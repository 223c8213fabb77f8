"""The pool of connections, and what a transaction is that outlives one of them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias, TypeVar

from psycopg import AsyncConnection, InterfaceError, IsolationLevel, OperationalError
from psycopg.errors import TransactionRollback, UndefinedTable
from psycopg_pool import AsyncConnectionPool

from teola.runtime.engines.postgres.catalog import Connection
from teola.runtime.errors import RunError

T = TypeVar("T")
Work: TypeAlias = Callable[[Connection], Awaitable[T]]

TIMES = 3
"""A transaction is begun so often, at most."""
WAIT_S = 30.0
"""For a connection: a server that is started again is waited for."""
CLOSE_S = 2.0


class DatabaseFailure(RunError):
    """The database did not do it, which is not the request's fault."""


class Database:
    """A pool of connections. All that is done with it may be done twice."""

    def __init__(self, url: str, connections: int) -> None:
        self._pool: AsyncConnectionPool[AsyncConnection[Any]] = AsyncConnectionPool(
            url, min_size=1, max_size=connections, timeout=WAIT_S, open=False
        )

    async def open(self) -> None:
        """Connect."""
        await self._pool.open(wait=True)

    async def close(self) -> None:
        """Let all connections go."""
        await self._pool.close(CLOSE_S)

    async def write(self, work: Work[T]) -> T:
        """What ``work`` gives in a transaction: all that it does is there afterwards, or nothing.

        Raises:
            DatabaseFailure: it could not be brought to its end.
        """
        return await self._done(work, IsolationLevel.READ_COMMITTED)

    async def read(self, work: Work[T]) -> T:
        """The same; every statement sees the database as it was at the first.

        Raises:
            DatabaseFailure: it could not be brought to its end.
        """
        return await self._done(work, IsolationLevel.REPEATABLE_READ)

    async def _done(self, work: Work[T], level: IsolationLevel, times: int = TIMES) -> T:
        """Begun again where its connection ended, where another transaction had to go first, or
        where a table was dropped before it came to that."""
        connection = None
        try:
            async with self._pool.connection() as connection:
                await connection.set_isolation_level(level)
                return await work(connection)
        except (OperationalError, InterfaceError, UndefinedTable) as error:
            lost = connection is not None and connection.closed
            if times == 1 or not (lost or isinstance(error, TransactionRollback | UndefinedTable)):
                raise DatabaseFailure(f"the database failed: {error}") from error
        if lost:
            await self._pool.check()  # the others are hardly better
        return await self._done(work, level, times - 1)
