"""The pool for single statements: each caller gets its own result, after errors, cancellations and lost connections."""

import asyncio
from collections.abc import AsyncIterator, Awaitable
from enum import StrEnum
from typing import Any

import asyncpg
import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine

from mambo.database.errors import CONNECTION_ERRORS, translate_database_error
from mambo.database.pool import Pool
from mambo.database.statements import Statement, param
from mambo.settings import Settings

SIZE = 2
PATIENCE_SECONDS = 15
NUMBER = param("number", sa.Integer())
ECHO = Statement(sa.select(NUMBER.label("number"), sa.func.pg_backend_pid().label("pid")))
DIVIDED = Statement(sa.select(sa.cast(10, sa.Integer()) / NUMBER))
SECONDS: sa.BindParameter[float] = param("seconds", sa.Double())
SLOW = Statement(sa.select(sa.func.pg_backend_pid().label("pid"), sa.func.pg_sleep(SECONDS)))
TERMINATE_SELF = Statement(sa.select(sa.func.pg_terminate_backend(sa.func.pg_backend_pid())))
SLEEPING = "SELECT pid FROM pg_stat_activity WHERE pid = ANY(:pids) AND wait_event = 'PgSleep'"


@pytest.fixture
async def pool(settings: Settings) -> AsyncIterator[Pool]:
    async with Pool(settings.database_url, size=SIZE).opened() as pool:
        yield pool


class Monitor:
    """Observes and terminates the backends of the pool over another connection."""

    def __init__(self, engine: AsyncEngine) -> None:
        self.engine = engine

    async def select(self, query: str, **values: Any) -> list[Any]:
        async with self.engine.connect() as connection:
            return list(await connection.scalars(sa.text(query), values))

    async def alive(self, pids: list[int]) -> list[int]:
        return await self.select("SELECT pid FROM pg_stat_activity WHERE pid = ANY(:pids)", pids=pids)

    async def terminate(self, pids: list[int]) -> None:
        """Terminate backends, and return when they have ended."""
        await self.select("SELECT pg_terminate_backend(pid, 5000) FROM unnest(CAST(:pids AS int[])) AS pid", pids=pids)

    async def wait_until_sleeping(self, pids: list[int], number: int) -> None:
        """Return when this number of backends sleeps in a statement."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while len(await self.select(SLEEPING, pids=pids)) < number:
                pass

    async def wait_until_awake(self, pids: list[int]) -> None:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while await self.select(SLEEPING, pids=pids):
                pass

    async def wait_until_ended(self, pids: list[int]) -> None:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while await self.alive(pids):
                pass


@pytest.fixture
def monitor(engine: AsyncEngine) -> Monitor:
    return Monitor(engine)


async def backends(pool: Pool) -> list[int]:
    """Return the process ids of the pool's backends, with a statement on each connection at the same time."""
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(pool.fetch_one(SLOW, seconds=0.1)) for _ in range(SIZE)]
    return [task.result()["pid"] for task in tasks]


async def outcomes(*calls: Awaitable[Any]) -> list[str]:
    """Return `ok` or the name of the error for each call."""
    results = await asyncio.gather(*calls, return_exceptions=True)
    return [type(result).__name__ if isinstance(result, BaseException) else "ok" for result in results]


# Errors


async def test_a_failed_statement_keeps_its_connection(pool: Pool) -> None:
    """Neither an error of the database, nor a value that the driver refuses."""
    before = await pool.fetch_one(ECHO, number=1)

    failures = await outcomes(pool.fetch_one(DIVIDED, number=0)) + await outcomes(pool.fetch_one(ECHO, number="one"))

    assert failures == ["DivisionByZeroError", "DataError"]
    after = await pool.fetch_one(ECHO, number=2)
    assert (after["number"], after["pid"]) == (2, before["pid"])


async def test_every_connection_has_the_lower_random_page_cost(pool: Pool) -> None:
    """A new connection, and one that asyncpg has reset."""
    cost = Statement(sa.select(sa.func.current_setting("random_page_cost").label("cost")))
    costs = [(await pool.fetch_one(cost))["cost"]]
    await outcomes(*(pool.fetch_one(DIVIDED, number=0) for _ in range(SIZE)))

    costs += [row["cost"] for row in await asyncio.gather(*(pool.fetch_one(cost) for _ in range(2 * SIZE)))]

    assert set(costs) == {"1.1"}


async def test_after_many_failures_all_connections_are_available(pool: Pool) -> None:
    failures = await outcomes(*(pool.fetch_one(DIVIDED, number=0) for _ in range(20 * SIZE)))

    assert set(failures) == {"DivisionByZeroError"}
    assert len(set(await backends(pool))) == SIZE


# Cancelling


async def test_the_next_call_never_gets_the_result_of_a_cancelled_statement(pool: Pool, monitor: Monitor) -> None:
    """Also when the next call comes at once, on all connections."""
    for _ in range(5):
        pids = await backends(pool)
        calls = [asyncio.create_task(pool.fetch_one(SLOW, seconds=0.2)) for _ in range(SIZE)]
        await monitor.wait_until_sleeping(pids, SIZE)
        for call in calls:
            call.cancel()

        rows = await asyncio.gather(*(pool.fetch_one(ECHO, number=number) for number in range(4 * SIZE)))

        assert [row["number"] for row in rows] == list(range(4 * SIZE))
        assert await outcomes(*calls) == ["CancelledError"] * SIZE


async def test_a_waiting_call_that_is_cancelled_takes_no_connection(pool: Pool, monitor: Monitor) -> None:
    pids = await backends(pool)
    calls = [asyncio.create_task(pool.fetch_one(SLOW, seconds=0.2)) for _ in range(SIZE)]
    await monitor.wait_until_sleeping(pids, SIZE)
    waiters = [asyncio.create_task(pool.fetch_one(ECHO, number=number)) for number in range(10)]
    await asyncio.wait(waiters, timeout=0)

    for waiter in waiters[::2]:
        waiter.cancel()

    assert await outcomes(*waiters) == ["CancelledError", "ok"] * 5
    assert await outcomes(*calls) == ["ok"] * SIZE
    assert len(set(await backends(pool))) == SIZE


async def test_a_call_that_is_cancelled_when_it_gets_a_connection_gives_it_back(settings: Settings) -> None:
    """The connection is free, and the call has not started."""
    async with Pool(settings.database_url, size=1).opened() as pool:
        async with pool.snapshot():
            call = asyncio.create_task(pool.fetch_one(ECHO, number=1))
            await asyncio.wait([call], timeout=0)
        call.cancel()

        assert await outcomes(call) == ["CancelledError"]
        assert await outcomes(pool.fetch_one(ECHO, number=2)) == ["ok"]


async def test_a_cancelled_statement_is_stopped_in_the_database(pool: Pool, monitor: Monitor) -> None:
    """Cancelled calls could else use more backends than the pool has connections."""
    pids = await backends(pool)
    call = asyncio.create_task(pool.fetch_one(SLOW, seconds=60))
    await monitor.wait_until_sleeping(pids, 1)

    call.cancel()
    await asyncio.wait([call])

    await monitor.wait_until_awake(pids)


# Lost connections


async def test_idle_connections_that_were_terminated_are_replaced_without_a_failed_call(
    pool: Pool, monitor: Monitor
) -> None:
    pids = await backends(pool)

    await monitor.terminate(pids)

    assert await outcomes(*(pool.fetch_one(ECHO, number=number) for number in range(10))) == ["ok"] * 10
    assert set(await backends(pool)).isdisjoint(pids)


async def test_a_connection_that_is_terminated_fails_its_statement_only(pool: Pool, monitor: Monitor) -> None:
    """It is not repeated, because it may have had effects; the next statements succeed."""
    pids = await backends(pool)
    call = asyncio.create_task(pool.fetch_one(SLOW, seconds=60))
    await monitor.wait_until_sleeping(pids, 1)
    await monitor.terminate(await monitor.select(SLEEPING, pids=pids))

    [failure] = await outcomes(call)

    assert failure in {"AdminShutdownError", "ConnectionDoesNotExistError"}
    assert await outcomes(*(pool.fetch_one(ECHO, number=number) for number in range(10))) == ["ok"] * 10


async def test_the_call_after_a_terminated_connection_succeeds(pool: Pool) -> None:
    """Also when the database has announced the end of the connection, and has not closed it yet."""
    results = []
    for number in range(20):
        results += await outcomes(pool.fetch_one(TERMINATE_SELF))
        results += await outcomes(pool.fetch_one(ECHO, number=number))

    assert results[1::2] == ["ok"] * 20
    assert "ok" not in results[::2]


class Proxy:
    """A proxy of the database that can block all its connections, and still accept new ones."""

    def __init__(self, socket: str) -> None:
        self.socket = socket
        self.blocked: set[int] = set()
        self.tasks: list[asyncio.Task[None]] = []

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        from_database, to_database = await asyncio.open_unix_connection(self.socket)
        number = len(self.tasks)
        self.tasks.append(asyncio.create_task(self.copy(number, reader, to_database)))
        self.tasks.append(asyncio.create_task(self.copy(number, from_database, writer)))

    async def copy(self, number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(2**16):
            if number not in self.blocked:
                writer.write(data)
        writer.close()

    def block(self) -> None:
        self.blocked.update(range(len(self.tasks)))


@pytest.fixture
async def proxy(settings: Settings) -> AsyncIterator[tuple[Proxy, str]]:
    """A proxy, and the URL of the database through it."""
    url = sa.make_url(settings.database_url)
    proxy = Proxy(f"{url.query['host']}/.s.PGSQL.{url.port or 5432}")
    server = await asyncio.start_server(proxy.accept, "127.0.0.1")
    port = server.sockets[0].getsockname()[1]
    yield proxy, url.set(host="127.0.0.1", port=port, query={}).render_as_string(hide_password=False)
    server.close()
    for task in proxy.tasks:
        task.cancel()
    await asyncio.gather(*proxy.tasks, return_exceptions=True)


async def test_connections_that_stop_responding_are_replaced(
    proxy: tuple[Proxy, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after a failover to another machine with the same address: waiting calls fail, later ones connect again."""
    monkeypatch.setattr("mambo.database.pool.COMMAND_SECONDS", 0.5)
    server, url = proxy
    async with Pool(url, size=SIZE).opened() as pool:
        await backends(pool)
        server.block()

        failures = await outcomes(*(pool.fetch_one(ECHO, number=number) for number in range(SIZE)))

        assert failures == ["TimeoutError"] * SIZE
        assert await outcomes(*(pool.fetch_one(ECHO, number=number) for number in range(10))) == ["ok"] * 10


# Waiting


async def test_more_calls_than_connections_wait_and_all_succeed(pool: Pool, monitor: Monitor) -> None:
    rows = await asyncio.gather(*(pool.fetch_one(ECHO, number=number) for number in range(50 * SIZE)))

    assert [row["number"] for row in rows] == list(range(50 * SIZE))
    assert len({row["pid"] for row in rows}) == SIZE


async def test_a_call_that_waits_too_long_times_out(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    """The connections are available to later calls."""
    monkeypatch.setattr("mambo.database.pool.POOL_WAIT_SECONDS", 0.05)
    calls = [asyncio.create_task(pool.fetch_one(SLOW, seconds=0.3)) for _ in range(SIZE)]
    await asyncio.wait(calls, timeout=0)

    waiting = await outcomes(*(pool.fetch_one(ECHO, number=number) for number in range(3)))

    assert waiting == ["TimeoutError"] * 3
    assert await outcomes(*calls) == ["ok"] * SIZE
    assert await outcomes(pool.fetch_one(ECHO, number=1)) == ["ok"]
    assert isinstance(TimeoutError(), CONNECTION_ERRORS)


# Statements


def test_the_error_of_a_missing_value_names_it() -> None:
    with pytest.raises(KeyError, match="number"):
        ECHO.arguments({"another": 1})


async def test_a_call_with_a_missing_value_takes_no_connection(pool: Pool) -> None:
    failures = await outcomes(*(pool.fetch_one(ECHO) for _ in range(3 * SIZE)))

    assert failures == ["KeyError"] * 3 * SIZE
    assert await outcomes(pool.fetch_one(ECHO, number=1)) == ["ok"]


class Beat(StrEnum):
    ONE = "one"
    TWO = "two"


@pytest.mark.parametrize(("word", "is_in"), [("one", True), ("two", True), ("three", False)])
async def test_constants_and_parameters_can_be_in_any_order(pool: Pool, word: str, is_in: bool) -> None:
    """Members of an enum in a list, false and zero too."""
    beat = param("beat", sa.Text())
    statement = Statement(
        sa.select(
            sa.literal(0).label("zero"),
            beat.in_(list(Beat)).label("is_in"),
            sa.literal(False).label("no"),
            sa.literal("x").label("x"),
            beat.label("beat"),
        )
    )

    row = await pool.fetch_one(statement, beat=word)

    assert tuple(row) == (0, is_in, False, "x", word)


async def test_none_is_a_value(pool: Pool) -> None:
    assert (await pool.fetch_one(ECHO, number=None))["number"] is None


# Closing


async def test_closing_the_pool_ends_all_backends(settings: Settings, monitor: Monitor) -> None:
    """Also after terminated connections and cancelled statements."""
    async with Pool(settings.database_url, size=SIZE).opened() as pool:
        pids = await backends(pool)
        call = asyncio.create_task(pool.fetch_one(SLOW, seconds=0.2))
        await monitor.wait_until_sleeping(pids, 1)
        call.cancel()
        await monitor.terminate(pids[:1])
        await asyncio.wait([call])
        pids += await backends(pool)

    await monitor.wait_until_ended(pids)


async def test_closing_waits_for_a_running_statement(
    settings: Settings, monitor: Monitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its connection is released only then."""
    monkeypatch.setattr("mambo.database.pool.COMMAND_SECONDS", 1)
    async with asyncio.timeout(PATIENCE_SECONDS), Pool(settings.database_url, size=SIZE).opened() as pool:
        pids = await backends(pool)
        call = asyncio.create_task(pool.fetch_one(SLOW, seconds=0.3))
        await monitor.wait_until_sleeping(pids, 1)

    assert await outcomes(call) == ["ok"]
    await monitor.wait_until_ended(pids)


async def test_a_pool_connects_at_the_first_call(monitor: Monitor) -> None:
    async with Pool("postgresql+asyncpg://nobody@127.0.0.1:1/none", size=SIZE).opened() as pool:
        assert await outcomes(*(pool.fetch_one(ECHO, number=1) for _ in range(3 * SIZE))) == [
            "ConnectionRefusedError"
        ] * (3 * SIZE)
        assert isinstance(pool, Pool)


def test_errors_of_the_pool_are_translated() -> None:
    """They are 503, and not 500."""
    for error in (asyncpg.ConnectionDoesNotExistError(), asyncpg.InterfaceError("closed"), TimeoutError()):
        assert translate_database_error(error) is not None
