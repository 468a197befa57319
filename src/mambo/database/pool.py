"""A pool of asyncpg connections for single statements."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import asyncpg
import sqlalchemy as sa

from mambo.database.session import COMMAND_SECONDS, CONNECT_SECONDS, POOL_WAIT_SECONDS
from mambo.database.statements import DIALECT, Statement

Read = Callable[..., Awaitable[Any]]


class Pool:
    """Runs single statements without a transaction, directly on asyncpg.

    Its connections come from asyncpg's pool and stay here, because acquiring and releasing one there costs more than a
    statement. A caller that holds a session's connection may wait for one of these, never the other way round.
    """

    def __init__(self, url: str, *, size: int) -> None:
        self._url, self._size = url, size
        self._pool: asyncpg.Pool[asyncpg.Record]
        self._free: list[Any] = [None] * size  # a connection for each slot, None before it is opened
        self._waiting: deque[asyncio.Future[Any]] = deque()  # for calls that wait for a slot, the oldest first
        self._discarded: set[asyncio.Future[None]] = set()

    async def fetch_all(self, statement: Statement, **values: Any) -> Any:
        arguments = statement.arguments(values)
        async with Lease(self) as connection:
            return await connection.fetch(statement.sql, *arguments)

    async def fetch_one(self, statement: Statement, **values: Any) -> Any:
        rows = await self.fetch_all(statement, **values)
        return rows[0] if rows else None

    @asynccontextmanager
    async def snapshot(self) -> AsyncIterator[Read]:
        """Yield a function that runs statements on one snapshot of the database (repeatable read)."""
        async with Lease(self) as connection, connection.transaction(isolation="repeatable_read", readonly=True):

            async def read(statement: Statement, **values: Any) -> Any:
                return await connection.fetch(statement.sql, *statement.arguments(values))

            yield read

    async def acquire(self) -> Any:
        """Return a connection, which must be released or discarded.

        Raises:
            TimeoutError: none was free within five seconds.

        """
        connection = self._free.pop() if self._free else await self._wait()
        try:
            if connection is not None:
                with suppress(asyncpg.InterfaceError):  # asyncpg has taken back a connection that closed
                    if not connection.is_closed():
                        return connection
                    await self._pool.release(connection)
            async with asyncio.timeout(POOL_WAIT_SECONDS):
                return await self._pool.acquire()
        except BaseException:
            self.release(None)
            raise

    def release(self, connection: Any) -> None:
        """Give a connection (or an empty slot) to the call that has waited longest."""
        while self._waiting:
            waiter = self._waiting.popleft()
            if not waiter.done():
                waiter.set_result(connection)
                return
        self._free.append(connection)

    def discard(self, connection: Any) -> None:
        """Return a connection to asyncpg, which may have to cancel its statement first; its slot is free at once."""
        releasing = asyncio.ensure_future(self._pool.release(connection))
        self._discarded.add(releasing)
        releasing.add_done_callback(self._discarded.discard)
        self.release(None)

    async def _wait(self) -> Any:
        # A semaphore and asyncio.timeout() would cost a tenth of a small request.
        loop = asyncio.get_running_loop()
        waiter = loop.create_future()
        self._waiting.append(waiter)
        timer = loop.call_later(POOL_WAIT_SECONDS, expire, waiter)
        try:
            return await waiter
        except asyncio.CancelledError:
            if not waiter.cancelled() and waiter.exception() is None:  # the connection arrived at the same moment
                self.release(waiter.result())
            raise
        finally:
            timer.cancel()

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

    async def _close(self) -> None:
        """Close all connections; one that does not close in time is terminated."""
        for connection in filter(None, self._free):
            with suppress(asyncpg.InterfaceError):
                await self._pool.release(connection)
        try:
            async with asyncio.timeout(COMMAND_SECONDS):
                await self._pool.close()
        except TimeoutError:
            self._pool.terminate()


def expire(waiter: asyncio.Future[Any]) -> None:
    if not waiter.done():
        waiter.set_exception(TimeoutError())


class Lease:
    """Holds a connection of a pool for a block; it is discarded if the block raises."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def __aenter__(self) -> Any:
        self._connection = await self._pool.acquire()
        return self._connection

    async def __aexit__(self, _: object, error: BaseException | None, __: object) -> None:
        if error is None:
            self._pool.release(self._connection)
        else:
            self._pool.discard(self._connection)


async def set_up_connection(connection: Any) -> None:
    """Let PostgreSQL prefer indexes, because the pages that are read often are in memory."""
    await connection.execute("SET random_page_cost = 1.1")
