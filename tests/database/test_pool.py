"""The pool of single statements: who asks gets the answer to what they asked, whatever became of those before."""

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
ENDED = Statement(sa.select(sa.func.pg_terminate_backend(sa.func.pg_backend_pid())))
ASLEEP = "SELECT pid FROM pg_stat_activity WHERE pid = ANY(:pids) AND wait_event = 'PgSleep'"


@pytest.fixture
async def pool(settings: Settings) -> AsyncIterator[Pool]:
    async with Pool(settings.database_url, size=SIZE).opened() as pool:
        yield pool


class Onlooker:
    """Sees and ends the pool's backends from another connection."""

    def __init__(self, engine: AsyncEngine) -> None:
        self.engine = engine

    async def all(self, query: str, **values: Any) -> list[Any]:
        async with self.engine.connect() as connection:
            return list(await connection.scalars(sa.text(query), values))

    async def alive(self, pids: list[int]) -> list[int]:
        return await self.all("SELECT pid FROM pg_stat_activity WHERE pid = ANY(:pids)", pids=pids)

    async def end(self, pids: list[int]) -> None:
        """End them, and return when they are gone."""
        await self.all("SELECT pg_terminate_backend(pid, 5000) FROM unnest(CAST(:pids AS int[])) AS pid", pids=pids)

    async def asleep(self, pids: list[int], number: int) -> None:
        """Return once so many of them sleep in a statement."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while len(await self.all(ASLEEP, pids=pids)) < number:
                pass

    async def none_asleep(self, pids: list[int]) -> None:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while await self.all(ASLEEP, pids=pids):
                pass

    async def gone(self, pids: list[int]) -> None:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while await self.alive(pids):
                pass


@pytest.fixture
def onlooker(engine: AsyncEngine) -> Onlooker:
    return Onlooker(engine)


async def backends(pool: Pool) -> list[int]:
    """The backends behind a pool's connections: all of them are asked at once."""
    async with asyncio.TaskGroup() as group:
        asked = [group.create_task(pool.fetch_one(SLOW, seconds=0.1)) for _ in range(SIZE)]
    return [task.result()["pid"] for task in asked]


async def outcomes(*asked: Awaitable[Any]) -> list[str]:
    """What came of each: `answered`, or the error's name."""
    ends = await asyncio.gather(*asked, return_exceptions=True)
    return [type(end).__name__ if isinstance(end, BaseException) else "answered" for end in ends]


# Errors


async def test_a_statement_that_fails_costs_no_connection(pool: Pool) -> None:
    """Neither one that the database refuses, nor one whose value the driver does."""
    before = await pool.fetch_one(ECHO, number=1)

    failures = await outcomes(pool.fetch_one(DIVIDED, number=0)) + await outcomes(pool.fetch_one(ECHO, number="one"))

    assert failures == ["DivisionByZeroError", "DataError"]
    after = await pool.fetch_one(ECHO, number=2)
    assert (after["number"], after["pid"]) == (2, before["pid"])


async def test_every_connection_may_use_the_index_of_a_small_table(pool: Pool) -> None:
    """One that is made anew, and one that asyncpg has reset."""
    asked = Statement(sa.select(sa.func.current_setting("random_page_cost").label("cost")))
    costs = [(await pool.fetch_one(asked))["cost"]]
    await outcomes(*(pool.fetch_one(DIVIDED, number=0) for _ in range(SIZE)))

    costs += [row["cost"] for row in await asyncio.gather(*(pool.fetch_one(asked) for _ in range(2 * SIZE)))]

    assert set(costs) == {"1.1"}


async def test_failures_without_end_leave_every_connection_to_the_next(pool: Pool) -> None:
    failures = await outcomes(*(pool.fetch_one(DIVIDED, number=0) for _ in range(20 * SIZE)))

    assert set(failures) == {"DivisionByZeroError"}
    assert len(set(await backends(pool))) == SIZE


# Cancelling


async def test_the_answer_to_a_cancelled_statement_never_goes_to_the_next_caller(
    pool: Pool, onlooker: Onlooker
) -> None:
    """However soon the next one asks, on however many connections."""
    for _ in range(5):
        pids = await backends(pool)
        asked = [asyncio.create_task(pool.fetch_one(SLOW, seconds=0.2)) for _ in range(SIZE)]
        await onlooker.asleep(pids, SIZE)
        for task in asked:
            task.cancel()

        answers = await asyncio.gather(*(pool.fetch_one(ECHO, number=number) for number in range(4 * SIZE)))

        assert [answer["number"] for answer in answers] == list(range(4 * SIZE))
        assert await outcomes(*asked) == ["CancelledError"] * SIZE


async def test_who_is_cancelled_while_waiting_leaves_their_place_to_others(pool: Pool, onlooker: Onlooker) -> None:
    pids = await backends(pool)
    asked = [asyncio.create_task(pool.fetch_one(SLOW, seconds=0.2)) for _ in range(SIZE)]
    await onlooker.asleep(pids, SIZE)
    waiters = [asyncio.create_task(pool.fetch_one(ECHO, number=number)) for number in range(10)]
    await asyncio.wait(waiters, timeout=0)

    for waiter in waiters[::2]:
        waiter.cancel()

    assert await outcomes(*waiters) == ["CancelledError", "answered"] * 5
    assert await outcomes(*asked) == ["answered"] * SIZE
    assert len(set(await backends(pool))) == SIZE


async def test_who_is_cancelled_as_their_turn_comes_passes_it_on(pool: Pool) -> None:
    """It came, and they have not begun."""
    taken = [await pool.take() for _ in range(SIZE)]
    waiter = asyncio.create_task(pool.fetch_one(ECHO, number=1))
    await asyncio.wait([waiter], timeout=0)

    for connection in taken:
        pool.give(connection)
    waiter.cancel()

    assert await outcomes(waiter) == ["CancelledError"]
    assert len(set(await backends(pool))) == SIZE


async def test_a_cancelled_statement_does_not_run_on_in_the_database(pool: Pool, onlooker: Onlooker) -> None:
    """Or callers who come and go would use more connections of it than the pool has."""
    pids = await backends(pool)
    asked = asyncio.create_task(pool.fetch_one(SLOW, seconds=60))
    await onlooker.asleep(pids, 1)

    asked.cancel()
    await asyncio.wait([asked])

    await onlooker.none_asleep(pids)


# Connections that end


async def test_connections_that_were_ended_while_idle_are_replaced_and_no_call_fails(
    pool: Pool, onlooker: Onlooker
) -> None:
    pids = await backends(pool)

    await onlooker.end(pids)

    assert await outcomes(*(pool.fetch_one(ECHO, number=number) for number in range(10))) == ["answered"] * 10
    assert set(await backends(pool)).isdisjoint(pids)


async def test_a_connection_that_is_ended_in_a_statement_fails_that_one_alone(pool: Pool, onlooker: Onlooker) -> None:
    """What it did nobody knows, so it is not asked again; the next one is answered."""
    pids = await backends(pool)
    asked = asyncio.create_task(pool.fetch_one(SLOW, seconds=60))
    await onlooker.asleep(pids, 1)
    await onlooker.end(await onlooker.all(ASLEEP, pids=pids))

    [failure] = await outcomes(asked)

    assert failure in {"AdminShutdownError", "ConnectionDoesNotExistError"}
    assert await outcomes(*(pool.fetch_one(ECHO, number=number) for number in range(10))) == ["answered"] * 10


async def test_the_next_to_ask_after_a_connection_has_ended_is_answered(pool: Pool) -> None:
    """However soon: the database has told that it ends this connection, and has not hung up yet."""
    ends = []
    for number in range(20):
        ends += await outcomes(pool.fetch_one(ENDED))
        ends += await outcomes(pool.fetch_one(ECHO, number=number))

    assert ends[1::2] == ["answered"] * 20
    assert "answered" not in ends[::2]


class Wire:
    """A way to the database that can go dead under the connections it has, while new ones pass."""

    def __init__(self, socket: str) -> None:
        self.socket = socket
        self.dead: set[int] = set()
        self.lines: list[asyncio.Task[None]] = []

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        from_database, to_database = await asyncio.open_unix_connection(self.socket)
        number = len(self.lines)
        self.lines.append(asyncio.create_task(self.carry(number, reader, to_database)))
        self.lines.append(asyncio.create_task(self.carry(number, from_database, writer)))

    async def carry(self, number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(2**16):
            if number not in self.dead:
                writer.write(data)
        writer.close()

    def die(self) -> None:
        self.dead.update(range(len(self.lines)))


@pytest.fixture
async def wire(settings: Settings) -> AsyncIterator[tuple[Wire, str]]:
    """The wire, and the URL at its other end."""
    url = sa.make_url(settings.database_url)
    wire = Wire(f"{url.query['host']}/.s.PGSQL.{url.port or 5432}")
    server = await asyncio.start_server(wire.accept, "127.0.0.1")
    port = server.sockets[0].getsockname()[1]
    yield wire, url.set(host="127.0.0.1", port=port, query={}).render_as_string(hide_password=False)
    server.close()
    for line in wire.lines:
        line.cancel()
    await asyncio.gather(*wire.lines, return_exceptions=True)


async def test_connections_that_went_dead_without_a_word_are_given_up(
    wire: tuple[Wire, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when the database's machine is gone and another has taken its address: who waits fails, and who comes next
    is answered over new connections."""
    monkeypatch.setattr("mambo.database.pool.COMMAND_SECONDS", 0.5)
    line, url = wire
    async with Pool(url, size=SIZE).opened() as pool:
        await backends(pool)
        line.die()

        failures = await outcomes(*(pool.fetch_one(ECHO, number=number) for number in range(SIZE)))

        assert failures == ["TimeoutError"] * SIZE
        assert await outcomes(*(pool.fetch_one(ECHO, number=number) for number in range(10))) == ["answered"] * 10


# Callers


async def test_more_callers_than_connections_wait_and_are_all_served(pool: Pool, onlooker: Onlooker) -> None:
    answers = await asyncio.gather(*(pool.fetch_one(ECHO, number=number) for number in range(50 * SIZE)))

    assert [answer["number"] for answer in answers] == list(range(50 * SIZE))
    assert len({answer["pid"] for answer in answers}) == SIZE


async def test_who_cannot_be_served_in_time_hears_of_it(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    """And the place that they waited for goes to who comes later."""
    monkeypatch.setattr("mambo.database.pool.POOL_WAIT_SECONDS", 0.05)
    asked = [asyncio.create_task(pool.fetch_one(SLOW, seconds=0.3)) for _ in range(SIZE)]
    await asyncio.wait(asked, timeout=0)

    waiting = await outcomes(*(pool.fetch_one(ECHO, number=number) for number in range(3)))

    assert waiting == ["TimeoutError"] * 3
    assert await outcomes(*asked) == ["answered"] * SIZE
    assert await outcomes(pool.fetch_one(ECHO, number=1)) == ["answered"]
    assert isinstance(TimeoutError(), CONNECTION_ERRORS)


# Statements


def test_a_value_that_is_missing_is_named() -> None:
    with pytest.raises(KeyError, match="number"):
        ECHO.arguments({"another": 1})


async def test_a_call_without_its_value_takes_no_place(pool: Pool) -> None:
    failures = await outcomes(*(pool.fetch_one(ECHO) for _ in range(3 * SIZE)))

    assert failures == ["KeyError"] * 3 * SIZE
    assert await outcomes(pool.fetch_one(ECHO, number=1)) == ["answered"]


class Beat(StrEnum):
    ONE = "one"
    TWO = "two"


@pytest.mark.parametrize(("word", "is_in"), [("one", True), ("two", True), ("three", False)])
async def test_constants_stand_beside_values_in_whatever_order(pool: Pool, word: str, is_in: bool) -> None:
    """Members of an enum in a list, nothing, false and zero among them."""
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


async def test_nothing_is_a_value(pool: Pool) -> None:
    assert (await pool.fetch_one(ECHO, number=None))["number"] is None


# Closing


async def test_a_pool_that_is_closed_leaves_no_backend(settings: Settings, onlooker: Onlooker) -> None:
    """Also of those that were ended or cancelled before."""
    async with Pool(settings.database_url, size=SIZE).opened() as pool:
        pids = await backends(pool)
        asked = asyncio.create_task(pool.fetch_one(SLOW, seconds=0.2))
        await onlooker.asleep(pids, 1)
        asked.cancel()
        await onlooker.end(pids[:1])
        await asyncio.wait([asked])
        pids += await backends(pool)

    await onlooker.gone(pids)


async def test_closing_lets_a_statement_end_and_then_ends(
    settings: Settings, onlooker: Onlooker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Though a connection comes back only then."""
    monkeypatch.setattr("mambo.database.pool.COMMAND_SECONDS", 1)
    async with asyncio.timeout(PATIENCE_SECONDS), Pool(settings.database_url, size=SIZE).opened() as pool:
        pids = await backends(pool)
        asked = asyncio.create_task(pool.fetch_one(SLOW, seconds=0.3))
        await onlooker.asleep(pids, 1)

    assert await outcomes(asked) == ["answered"]
    await onlooker.gone(pids)


async def test_a_pool_that_nobody_asks_connects_to_nothing(onlooker: Onlooker) -> None:
    async with Pool("postgresql+asyncpg://nobody@127.0.0.1:1/none", size=SIZE).opened() as pool:
        assert await outcomes(pool.fetch_one(ECHO, number=1)) == ["ConnectionRefusedError"]
        assert isinstance(pool, Pool)


def test_what_the_pool_raises_is_known_to_the_app() -> None:
    """As an answer of 503, and not of 500."""
    for error in (asyncpg.ConnectionDoesNotExistError(), asyncpg.InterfaceError("closed"), TimeoutError()):
        assert translate_database_error(error) is not None
