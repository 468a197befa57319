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
    """Single statements outside a request's transaction, straight on asyncpg, for a fraction of what a session costs.

    Whoever holds a session's connection may wait for one of these, and never the other way round. Connections come from
    asyncpg's pool and stay here, for to take one there and give it back costs more than a statement.
    """

    def __init__(self, url: str, *, size: int) -> None:
        self._url, self._size = url, size
        self._pool: asyncpg.Pool[asyncpg.Record]
        self._free: list[Any] = [None] * size  # a connection for each place, once it has one
        self._turns: deque[asyncio.Future[Any]] = deque()  # of those who wait for a place
        self._leaving: set[asyncio.Future[None]] = set()

    async def fetch_all(self, statement: Statement, **values: Any) -> Any:
        arguments = statement.arguments(values)
        async with Lease(self) as connection:
            return await connection.fetch(statement.sql, *arguments)

    async def fetch_one(self, statement: Statement, **values: Any) -> Any:
        rows = await self.fetch_all(statement, **values)
        return rows[0] if rows else None

    @asynccontextmanager
    async def snapshot(self) -> AsyncIterator[Read]:
        """Statements that all see the database as it was at the first of them."""
        async with Lease(self) as connection, connection.transaction(isolation="repeatable_read", readonly=True):

            async def read(statement: Statement, **values: Any) -> Any:
                return await connection.fetch(statement.sql, *statement.arguments(values))

            yield read

    async def take(self) -> Any:
        """A connection, to be given back or let go of; TimeoutError when there is none for too long."""
        connection = self._free.pop() if self._free else await self._turn()
        try:
            if connection is not None:
                with suppress(asyncpg.InterfaceError):  # asyncpg has taken it back, for it is closed
                    if not connection.is_closed():
                        return connection
                    await self._pool.release(connection)
            async with asyncio.timeout(POOL_WAIT_SECONDS):
                return await self._pool.acquire()
        except BaseException:
            self.give(None)
            raise

    def give(self, connection: Any) -> None:
        """Let whoever has waited longest have it."""
        while self._turns:
            turn = self._turns.popleft()
            if not turn.done():
                turn.set_result(connection)
                return
        self._free.append(connection)

    def let_go(self, connection: Any) -> None:
        """Give others its place alone: asyncpg may have to stop a statement first, which takes as long as it will."""
        leaving = asyncio.ensure_future(self._pool.release(connection))
        self._leaving.add(leaving)
        leaving.add_done_callback(self._leaving.discard)
        self.give(None)

    async def _turn(self) -> Any:
        # A semaphore and asyncio.timeout() would take a tenth of a hot request's time.
        loop = asyncio.get_running_loop()
        turn = loop.create_future()
        self._turns.append(turn)
        late = loop.call_later(POOL_WAIT_SECONDS, give_up, turn)
        try:
            return await turn
        except asyncio.CancelledError:
            if not turn.cancelled() and turn.exception() is None:  # it came at the same moment
                self.give(turn.result())
            raise
        finally:
            late.cancel()

    @asynccontextmanager
    async def opened(self) -> AsyncIterator["Pool"]:
        """Let statements run until the block ends; a connection is made when one is first needed."""
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
        """Give all connections back, and end them; one that does not end in time is cut."""
        for connection in filter(None, self._free):
            with suppress(asyncpg.InterfaceError):
                await self._pool.release(connection)
        try:
            async with asyncio.timeout(COMMAND_SECONDS):
                await self._pool.close()
        except TimeoutError:
            self._pool.terminate()


def give_up(turn: asyncio.Future[Any]) -> None:
    if not turn.done():
        turn.set_exception(TimeoutError())


class Lease:
    """A pool's connection, for a block."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def __aenter__(self) -> Any:
        self._connection = await self._pool.take()
        return self._connection

    async def __aexit__(self, _: object, error: BaseException | None, __: object) -> None:
        if error is None:
            self._pool.give(self._connection)
        else:
            self._pool.let_go(self._connection)


async def set_up_connection(connection: Any) -> None:
    """Let an index be used where a table is small: what is asked for often is in memory, in any order alike."""
    await connection.execute("SET random_page_cost = 1.1")
