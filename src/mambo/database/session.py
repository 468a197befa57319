"""The engine, and the two ways to open a transaction."""

from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager

import msgspec
from litestar.di import NamedDependency
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker, create_async_engine

CONNECT_SECONDS = 2
COMMAND_SECONDS = 5
POOL_WAIT_SECONDS = 5


def create_engine(url: str, *, pool_size: int) -> AsyncEngine:
    """Create an engine that fails within seconds and never prints a parameter; it connects when first used."""
    return create_async_engine(
        url,
        pool_size=pool_size,
        max_overflow=0,
        pool_timeout=POOL_WAIT_SECONDS,
        pool_pre_ping=True,
        hide_parameters=True,
        json_serializer=lambda value: msgspec.json.encode(value).decode(),
        json_deserializer=msgspec.json.decode,
        connect_args={"timeout": CONNECT_SECONDS, "command_timeout": COMMAND_SECONDS},
    )


class Transactions:
    """Opens transactions: each commits at the end of its block, and rolls back when the block raises.

    A service that waits for something slow (a vendor, a password hash) opens short transactions of its own, so that it
    holds no connection meanwhile. All other services share the request's `session`.
    """

    def __init__(self, engine: AsyncEngine) -> None:
        self._sessions = async_sessionmaker(engine, expire_on_commit=False)

    def begin(self) -> AbstractAsyncContextManager[AsyncSession]:
        return self._sessions.begin()


async def provide_session(transactions: NamedDependency[Transactions]) -> AsyncGenerator[AsyncSession, None]:
    """Open the request's transaction: it commits when the handler returns, before the response is built."""
    async with transactions.begin() as session:
        yield session
