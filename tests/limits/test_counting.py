"""Counters that workers share in Redis or PostgreSQL: exact at the limit, for any number of processes."""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine

from factories import School
from mambo.adapters.counters import Counters
from mambo.limits.models import RateCount
from mambo.limits.repository import SWEEP_MS
from mambo.limits.service import KEPT, LocalCounters
from support.redis import PATIENCE_SECONDS, RedisServer

HAMMER = Path(__file__).with_name("hammer.py")
ROUNDS = 5
NOW = 1_772_452_800_000
MINUTE = 60_000
TWICE_A_MINUTE = {"limit": 2, "window": MINUTE}
ONCE_A_MINUTE = {"limit": 1, "window": MINUTE}


@asynccontextmanager
async def run_hammer(kind: str, url: str) -> AsyncIterator[asyncio.subprocess.Process]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, HAMMER, kind, url, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    try:
        yield process
    finally:
        await process.communicate(b"")  # the process ends when its input is closed


async def read_line(process: asyncio.subprocess.Process) -> str:
    assert process.stdout is not None
    async with asyncio.timeout(PATIENCE_SECONDS):
        return (await process.stdout.readline()).decode().strip()


def write_line(process: asyncio.subprocess.Process, line: str) -> None:
    assert process.stdin is not None
    process.stdin.write(f"{line}\n".encode())


@pytest.mark.parametrize("kind", ["redis", "postgres"])
async def test_two_processes_allow_exactly_the_limit(
    kind: str, redis: RedisServer, database_url: str, school: School
) -> None:
    """Each makes a hundred concurrent calls, with a limit of ten, in five rounds."""
    del school
    url = redis.url if kind == "redis" else database_url
    passed = []
    async with run_hammer(kind, url) as first, run_hammer(kind, url) as second:
        assert [await read_line(first), await read_line(second)] == ["ready"] * 2
        for number in range(ROUNDS):
            write_line(first, f"round {number}")
            write_line(second, f"round {number}")
            passed.append(int(await read_line(first)) + int(await read_line(second)))

    assert passed == [10] * ROUNDS


async def test_of_concurrent_calls_at_one_below_the_limit_one_is_allowed(
    postgres_counters: Counters, school: School
) -> None:
    """All of them find the row before one of them changes it, and each sees the change of the one before."""
    waiting = sa.select(sa.func.count()).select_from(sa.table("pg_locks")).where(sa.text("NOT granted"))
    await postgres_counters.take("k", **TWICE_A_MINUTE, now=NOW)

    async with school.sessions.begin() as session:
        await session.execute(sa.select(RateCount).with_for_update())
        taking = asyncio.gather(*(postgres_counters.take("k", **TWICE_A_MINUTE, now=NOW) for _ in range(3)))
        while await school.scalar(waiting) < 3:
            assert not taking.done()

    assert sorted(result.is_allowed for result in await taking) == [False, False, True]


async def test_no_more_calls_than_the_limit_are_allowed(counters: Counters) -> None:
    results = [await counters.take("k", **TWICE_A_MINUTE, now=NOW + number) for number in range(4)]

    assert [result.is_allowed for result in results] == [True, True, False, False]
    assert [result.count for result in results] == [1, 2, 2, 2]


async def test_a_window_begins_with_the_first_call_and_ends_on_time(counters: Counters) -> None:
    ends = [(await counters.take("k", **TWICE_A_MINUTE, now=NOW + number)).ends for number in range(3)]

    assert ends == [NOW + MINUTE] * 3
    assert not (await counters.take("k", **TWICE_A_MINUTE, now=NOW + MINUTE - 1)).is_allowed
    after = await counters.take("k", **TWICE_A_MINUTE, now=NOW + MINUTE)
    assert (after.is_allowed, after.count, after.ends) == (True, 1, NOW + 2 * MINUTE)


async def test_each_key_has_its_own_count(counters: Counters) -> None:
    await counters.take("k", **ONCE_A_MINUTE, now=NOW)

    assert (await counters.take("another", **ONCE_A_MINUTE, now=NOW)).is_allowed


async def test_a_call_that_is_given_back_can_be_taken_again(counters: Counters) -> None:
    await counters.take("k", **TWICE_A_MINUTE, now=NOW)
    taken = await counters.take("k", **TWICE_A_MINUTE, now=NOW)

    await counters.give_back("k", taken.ends)

    again = [(await counters.take("k", **TWICE_A_MINUTE, now=NOW)).is_allowed for _ in range(2)]
    assert again == [True, False]


async def test_nothing_is_given_back_to_a_later_window(counters: Counters) -> None:
    earlier = await counters.take("k", **TWICE_A_MINUTE, now=NOW)
    for _ in range(2):
        await counters.take("k", **TWICE_A_MINUTE, now=NOW + MINUTE)

    await counters.give_back("k", earlier.ends)

    assert not (await counters.take("k", **TWICE_A_MINUTE, now=NOW + MINUTE)).is_allowed


async def test_no_more_is_given_back_than_was_taken(counters: Counters) -> None:
    taken = await counters.take("k", **TWICE_A_MINUTE, now=NOW)

    for _ in range(3):
        await counters.give_back("k", taken.ends)

    again = [(await counters.take("k", **TWICE_A_MINUTE, now=NOW)).is_allowed for _ in range(3)]
    assert again == [True, True, False]


async def test_a_cleared_count_starts_at_zero(counters: Counters) -> None:
    for _ in range(2):
        await counters.take("k", **TWICE_A_MINUTE, now=NOW)

    await counters.clear("k")

    assert (await counters.take("k", **TWICE_A_MINUTE, now=NOW)).count == 1


async def test_a_window_in_the_future_is_ignored(counters: Counters) -> None:
    """Such a window remains after a clock that was an hour fast has been corrected."""
    for _ in range(2):
        await counters.take("k", **TWICE_A_MINUTE, now=NOW + 60 * MINUTE)

    assert (await counters.take("k", **TWICE_A_MINUTE, now=NOW)).is_allowed


async def test_rows_of_ended_windows_are_deleted_by_a_later_call(postgres_counters: Counters, school: School) -> None:
    await postgres_counters.take("over", **TWICE_A_MINUTE, now=NOW)

    await postgres_counters.take("new", **TWICE_A_MINUTE, now=NOW + SWEEP_MS + 1)

    async with school.sessions() as session:
        assert list(await session.scalars(sa.select(RateCount.key))) == ["new"]


async def test_the_table_of_counters_is_unlogged(engine: AsyncEngine) -> None:
    async with engine.connect() as connection:
        persistence = await connection.scalar(
            sa.text("SELECT relpersistence::text FROM pg_class WHERE relname = 'rate_count'")
        )

    assert persistence == "u"


async def test_a_redis_key_expires_with_its_window(redis_counters: Counters, redis: RedisServer) -> None:
    await redis_counters.take("k", **TWICE_A_MINUTE, now=NOW)
    ttl = await redis.call("PTTL", "limit:k")

    assert isinstance(ttl, int)
    assert 0 < ttl <= MINUTE


async def test_after_flushall_redis_counts_from_zero(redis_counters: Counters, redis: RedisServer) -> None:
    await redis_counters.take("k", **TWICE_A_MINUTE, now=NOW)
    await redis.call("FLUSHALL")

    assert (await redis_counters.take("k", **TWICE_A_MINUTE, now=NOW)).count == 1


async def test_an_invalid_value_in_redis_is_replaced(redis_counters: Counters, redis: RedisServer) -> None:
    await redis.call("HSET", "limit:k", "count", "many", "ends", "never")

    assert (await redis_counters.take("k", **TWICE_A_MINUTE, now=NOW)).count == 1


def test_local_counters_enforce_the_limit() -> None:
    local = LocalCounters()

    results = [local.take("k", **TWICE_A_MINUTE, now=NOW + number) for number in range(3)]

    assert [(result.is_allowed, result.count, result.ends) for result in results] == [
        (True, 1, NOW + MINUTE),
        (True, 2, NOW + MINUTE),
        (False, 2, NOW + MINUTE),
    ]
    assert local.take("k", **TWICE_A_MINUTE, now=NOW + MINUTE).is_allowed


def test_local_counters_are_bounded_in_number() -> None:
    """It keeps those that it used last."""
    local = LocalCounters()

    for number in range(KEPT + 1):
        local.take(f"k{number}", **ONCE_A_MINUTE, now=NOW)

    assert not local.take("k1", **ONCE_A_MINUTE, now=NOW).is_allowed
    assert local.take("k0", **ONCE_A_MINUTE, now=NOW).is_allowed
