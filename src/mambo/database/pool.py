"""A pool of asyncpg connections for single statements."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import sqlalchemy as sa

from mambo.database.session import COMMAND_SECONDS, CONNECT_SECONDS, POOL_WAIT_SECONDS
from mambo.database.statements import DIALECT, Statement

Read = Callable[..., Awaitable[Any]]


class Pool:
    """Runs single statements without a transaction, directly on asyncpg.

    Its connections come from asyncpg's pool and stay here, because acquiring and releasing one there takes 30 µs of
    processor time, and 70 µs with the reset, where a statement takes 50. A caller that holds a session's connection may
    wait for one of these, never the other way round.
    """

    def __init__(self, url: str, *, size: int) -> None:
        self._url, self._size = url, size
        self._pool: asyncpg.Pool[asyncpg.Record]
        self._idle: list[Any] = []
        self._slots = asyncio.Semaphore(size)
        self._discarded: set[asyncio.Future[None]] = set()

    async def fetch_all(self, statement: Statement, **values: Any) -> Any:
        arguments = statement.arguments(values)
        connection = await self._acquire()
        try:
            rows = await connection.fetch(statement.sql, *arguments)
        except BaseException:
            self._discard(connection)
            raise
        self._release(connection)
        return rows

    async def fetch_one(self, statement: Statement, **values: Any) -> Any:
        rows = await self.fetch_all(statement, **values)
        return rows[0] if rows else None

    @asynccontextmanager
    async def snapshot(self) -> AsyncIterator[Read]:
        """Yield a function that runs statements on one snapshot of the database (repeatable read)."""
        connection = await self._acquire()

        async def read(statement: Statement, **values: Any) -> Any:
            return await connection.fetch(statement.sql, *statement.arguments(values))

        try:
            async with connection.transaction(isolation="repeatable_read", readonly=True):
                yield read
        except BaseException:
            self._discard(connection)
            raise
        self._release(connection)

    @asynccontextmanager
    async def opened(self) -> AsyncIterator["Pool"]:
        """Open the pool until the block ends; it connects when a statement first needs a connection."""
        _, options = DIALECT.create_connect_args(sa.make_url(self._url))
        options.pop("prepared_statement_cache_size", None)  # SQLAlchemy's own
        timeouts = {"timeout": CONNECT_SECONDS, "command_timeout": COMMAND_SECONDS}
        self._pool = await asyncpg.create_pool(
            **options, **timeouts, setup=set_up_connection, min_size=0, max_size=self._size
        )
        try:
            yield self
        finally:
            await self._close()

    async def _acquire(self) -> Any:
        """Return a connection, which must be released or discarded; calls get one in the order in which they wait.

        Raises:
            TimeoutError: none was free within five seconds.

        """
        if self._slots.locked():
            async with asyncio.timeout(POOL_WAIT_SECONDS):
                await self._slots.acquire()
        else:
            await self._slots.acquire()  # does not wait, and a timeout costs time
        try:
            while self._idle:
                if is_open(connection := self._idle.pop()):
                    return connection
                await self._pool.release(connection)
            async with asyncio.timeout(POOL_WAIT_SECONDS):
                return await self._pool.acquire()
        except BaseException:
            self._slots.release()
            raise

    def _release(self, connection: Any) -> None:
        self._idle.append(connection)
        self._slots.release()

    def _discard(self, connection: Any) -> None:
        """Return a connection to asyncpg, which may have to cancel its statement first; its slot is free at once."""
        releasing = asyncio.ensure_future(self._pool.release(connection))
        self._discarded.add(releasing)
        releasing.add_done_callback(self._discarded.discard)
        self._slots.release()

    async def _close(self) -> None:
        """Close all connections; one that does not close in time is terminated."""
        for connection in self._idle:
            await self._pool.release(connection)
        try:
            async with asyncio.timeout(COMMAND_SECONDS):
                await self._pool.close()
        except TimeoutError:
            self._pool.terminate()


def is_open(connection: Any) -> bool:
    try:
        return not connection.is_closed()
    except asyncpg.InterfaceError:  # asyncpg has taken back a connection that closed
        return False


async def set_up_connection(connection: Any) -> None:
    """Let PostgreSQL prefer indexes, because the pages that are read often are in memory."""
    await connection.execute("SET random_page_cost = 1.1")
