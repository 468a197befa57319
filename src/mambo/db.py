"""The database: base model, engine, the one session provider that commits, and what its errors mean to a person."""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from datetime import datetime
from enum import Enum
from functools import cache
from pathlib import Path
from typing import Any, TypeVar, cast
from uuid import UUID

import asyncpg
import msgspec
import sqlalchemy as sa
from advanced_alchemy.base import AdvancedDeclarativeBase, CommonTableAttributes, orm_registry
from advanced_alchemy.repository import SQLAlchemyAsyncRepository
from alembic.config import Config
from litestar import Request, Response
from litestar.datastructures import State
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.dialects.postgresql.asyncpg import dialect as asyncpg_dialect
from sqlalchemy.engine import Dialect
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, create_async_engine
from sqlalchemy.orm import Mapped, mapped_column
from sqlalchemy.sql import ClauseElement
from sqlalchemy.sql.compiler import SQLCompiler
from uuid_utils.compat import uuid7

from mambo.errors import Conflict, Invalid, MamboError, Problem, Unavailable, on_error, problem_response

CONNECT_SECONDS = 2
COMMAND_SECONDS = 5
POOL_WAIT_SECONDS = 5
DIALECT: Dialect = asyncpg_dialect()  # type: ignore[no-untyped-call]
NO_ANSWER = (OSError, PoolTimeoutError, asyncpg.InterfaceError)
ERRORS = (DBAPIError, asyncpg.PostgresError, *NO_ANSWER)

orm_registry.update_type_annotation_map(
    {
        UUID: sa.Uuid(),
        str: sa.Text(),
        datetime: sa.DateTime(timezone=True),
        dict[str, Any]: JSONB(none_as_null=True),
    }
)
metadata = orm_registry.metadata


class Base(CommonTableAttributes, AdvancedDeclarativeBase):
    """Every table. A constraint's `info["problem"]` is the sentence for the person who runs into it."""

    __abstract__ = True


class Identified(Base):
    """A table keyed by a UUIDv7 of ours, so that rows insert in batches and sort by age."""

    __abstract__ = True

    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid7, sort_order=-100)
    created_at: Mapped[datetime] = mapped_column(server_default=sa.func.now(), sort_order=100)


T = TypeVar("T")
ModelT = TypeVar("ModelT", bound=Base)


class Repository(SQLAlchemyAsyncRepository[ModelT]):
    """The base of every room's repository: driver errors reach `on_database_error` as they are, nothing is re-read."""

    def __init__(self, session: AsyncSession) -> None:
        super().__init__(session=session, auto_refresh=False, wrap_exceptions=False)


def one_of(enum: type[Enum]) -> sa.Enum:
    """A text column that holds the values of `enum`, checked by the database."""
    return sa.Enum(
        enum,
        native_enum=False,
        create_constraint=True,
        length=20,
        name=enum.__name__.lower(),
        values_callable=lambda members: [member.value for member in members],
    )


def create_engine(url: str, *, pool_size: int) -> AsyncEngine:
    """Make an engine that fails within seconds and never prints a parameter."""
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


def given(name: str, kind: sa.types.TypeEngine[T]) -> sa.BindParameter[T]:
    """A value of a `Statement` that is named with each call."""
    return sa.bindparam(name, type_=kind, required=False)


class Statement:
    """A Core statement, compiled once, for a `Pool`; what goes in and out is asyncpg's, such as a text for an enum."""

    def __init__(self, statement: ClauseElement) -> None:
        compiled = cast("SQLCompiler", statement.compile(dialect=DIALECT, compile_kwargs={"render_postcompile": True}))
        self.sql = str(compiled)
        # A constant has its value here, and what is given with each call has none.
        self._arguments = [(name, compiled.params[name]) for name in compiled.positiontup or ()]

    def arguments(self, values: dict[str, Any]) -> list[Any]:
        """The arguments in the order of the SQL; KeyError when one is missing."""
        return [values[name] if constant is None else constant for name, constant in self._arguments]


Read = Callable[..., Awaitable[Any]]


class Pool:
    """Single statements outside a request's transaction, straight on asyncpg, for a fraction of what a session costs.

    Whoever holds a session's connection may wait for one of these, and never the other way round. Connections come from
    asyncpg's pool and stay here, for to take one there and give it back costs more than a statement.
    """

    def __init__(self, pool: "asyncpg.Pool[asyncpg.Record]", size: int) -> None:
        self._pool = pool
        self._free: list[Any] = [None] * size  # a connection for each place, once it has one
        self._turns: deque[asyncio.Future[Any]] = deque()  # of those who wait for a place
        self._leaving: set[asyncio.Future[None]] = set()

    async def all(self, statement: Statement, **values: Any) -> Any:  # noqa: ANN401 - rows of column values
        arguments = statement.arguments(values)
        async with Lease(self) as connection:
            return await connection.fetch(statement.sql, *arguments)

    async def one(self, statement: Statement, **values: Any) -> Any:  # noqa: ANN401 - the first row, or None without
        rows = await self.all(statement, **values)
        return rows[0] if rows else None

    @asynccontextmanager
    async def moment(self) -> AsyncIterator[Read]:
        """Statements that all see the database as it was at the first of them."""
        async with Lease(self) as connection, connection.transaction(isolation="repeatable_read", readonly=True):

            async def read(statement: Statement, **values: Any) -> Any:  # noqa: ANN401 - rows of column values
                return await connection.fetch(statement.sql, *statement.arguments(values))

            yield read

    async def take(self) -> Any:  # noqa: ANN401 - asyncpg's proxy of a connection
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

    def give(self, connection: Any) -> None:  # noqa: ANN401 - as above, or None for a place without
        """Let whoever has waited longest have it."""
        while self._turns:
            turn = self._turns.popleft()
            if not turn.done():
                turn.set_result(connection)
                return
        self._free.append(connection)

    def let_go(self, connection: Any) -> None:  # noqa: ANN401 - as above
        """Give others its place alone: asyncpg may have to stop a statement first, which takes as long as it will."""
        leaving = asyncio.ensure_future(self._pool.release(connection))
        self._leaving.add(leaving)
        leaving.add_done_callback(self._leaving.discard)
        self.give(None)

    async def _turn(self) -> Any:  # noqa: ANN401 - as above
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

    async def close(self) -> None:
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

    async def __aenter__(self) -> Any:  # noqa: ANN401 - asyncpg's proxy of a connection
        self._connection = await self._pool.take()
        return self._connection

    async def __aexit__(self, _: object, error: BaseException | None, __: object) -> None:
        if error is None:
            self._pool.give(self._connection)
        else:
            self._pool.let_go(self._connection)


async def prepare(connection: Any) -> None:  # noqa: ANN401 - asyncpg's proxy of a connection
    """Let an index be used where a table is small: what is asked for often is in memory, in any order alike."""
    await connection.execute("SET random_page_cost = 1.1")


@asynccontextmanager
async def open_pool(url: str, *, size: int) -> AsyncIterator[Pool]:
    """A pool that connects when it is first asked, and fails within seconds."""
    _, options = DIALECT.create_connect_args(sa.make_url(url))
    options.pop("prepared_statement_cache_size", None)  # SQLAlchemy's own
    timeouts = {"timeout": CONNECT_SECONDS, "command_timeout": COMMAND_SECONDS}
    pool = Pool(await asyncpg.create_pool(**options, **timeouts, setup=prepare, min_size=0, max_size=size), size)
    try:
        yield pool
    finally:
        await pool.close()


def alembic_config(url: str) -> Config:
    """Alembic's configuration for our migrations, which lie in the package once installed and beside `src` before."""
    package = Path(__file__).parent
    folder = next(path for path in (package / "migrations", package.parents[1] / "migrations") if path.is_dir())
    config = Config(folder / "alembic.ini")
    config.set_main_option("script_location", str(folder))
    config.attributes["url"] = url
    return config


async def provide_session(state: State) -> AsyncGenerator[AsyncSession, None]:
    """One request, one transaction: commits when the handler returns, before the response; rolls back on any error."""
    async with state.sessions() as session, session.begin():
        yield session


def on_database_error(request: Request[Any, Any, Any], error: Exception) -> Response[Problem]:
    """Answer what the database or the way to it raised."""
    known = as_mambo_error(error)
    return problem_response(request, known) if known else on_error(request, error)


def as_mambo_error(error: Exception) -> MamboError | None:
    """Say what a database error means to a person: never the driver's message; None for a bug."""
    driver_error = error.orig.__cause__ if isinstance(error, DBAPIError) and error.orig else error
    state = getattr(driver_error, "sqlstate", None) or ""
    is_lost = isinstance(error, DBAPIError) and error.connection_invalidated
    if is_lost or isinstance(error, NO_ANSWER) or state[:2] in {"08", "53", "57"}:
        return Unavailable("The database does not answer. Try again in a moment.")
    if state in {"40001", "40P01", "55P03"}:
        return Unavailable("Someone changed the same thing at the same moment. Try again.")
    if state.startswith("23"):
        constraint = getattr(driver_error, "constraint_name", None)
        return Conflict(problems_by_constraint().get(constraint or "", "This contradicts what is stored."))
    if state.startswith("22") or isinstance(driver_error, asyncpg.DataError):
        return Invalid("A value cannot be stored: it holds a character or a number that is out of range.")
    return None


@cache
def problems_by_constraint() -> dict[str, str]:
    """Each named constraint or index that carries a sentence, with it."""
    return {
        str(named.name): named.info["problem"]
        for table in metadata.tables.values()
        for named in cast("list[sa.Constraint | sa.Index]", [*table.constraints, *table.indexes])
        if "problem" in named.info
    }
