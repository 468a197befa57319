"""Counts that workers share, in Redis and in PostgreSQL alike: exact at the limit, over any number of processes."""

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
async def hammering(kind: str, url: str) -> AsyncIterator[asyncio.subprocess.Process]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, HAMMER, kind, url, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    try:
        yield process
    finally:
        await process.communicate(b"")  # closes its input, at which it ends


async def line_of(process: asyncio.subprocess.Process) -> str:
    assert process.stdout is not None
    async with asyncio.timeout(PATIENCE_SECONDS):
        return (await process.stdout.readline()).decode().strip()


def say(process: asyncio.subprocess.Process, line: str) -> None:
    assert process.stdin is not None
    process.stdin.write(f"{line}\n".encode())


@pytest.mark.parametrize("kind", ["redis", "postgres"])
async def test_two_processes_let_exactly_as_many_through_as_the_limit_says(
    kind: str, redis: RedisServer, database_url: str, school: School
) -> None:
    """Two hundred at once, from two processes, on a limit of ten; five rounds."""
    del school
    url = redis.url if kind == "redis" else database_url
    passed = []
    async with hammering(kind, url) as one, hammering(kind, url) as other:
        assert [await line_of(one), await line_of(other)] == ["ready"] * 2
        for number in range(ROUNDS):
            say(one, f"round {number}")
            say(other, f"round {number}")
            passed.append(int(await line_of(one)) + int(await line_of(other)))

    assert passed == [10] * ROUNDS


async def test_of_those_who_stand_before_the_last_one_at_once_one_has_it(
    postgres_counts: Counters, school: School
) -> None:
    """They all see the row as it was, and find it as the one before has left it."""
    waiting = sa.select(sa.func.count()).select_from(sa.table("pg_locks")).where(sa.text("NOT granted"))
    await postgres_counts.take("k", **TWICE_A_MINUTE, now=NOW)

    async with school.sessions.begin() as session:
        await session.execute(sa.select(RateCount).with_for_update())
        taking = asyncio.gather(*(postgres_counts.take("k", **TWICE_A_MINUTE, now=NOW) for _ in range(3)))
        while await school.scalar(waiting) < 3:
            assert not taking.done()

    assert sorted(one.is_allowed for one in await taking) == [False, False, True]


async def test_as_many_as_the_limit_are_allowed_and_no_more(counts: Counters) -> None:
    taken = [await counts.take("k", **TWICE_A_MINUTE, now=NOW + number) for number in range(4)]

    assert [one.is_allowed for one in taken] == [True, True, False, False]
    assert [one.count for one in taken] == [1, 2, 2, 2]


async def test_the_window_begins_with_the_first_and_ends_as_it_said(counts: Counters) -> None:
    ends = [(await counts.take("k", **TWICE_A_MINUTE, now=NOW + number)).ends for number in range(3)]

    assert ends == [NOW + MINUTE] * 3
    assert not (await counts.take("k", **TWICE_A_MINUTE, now=NOW + MINUTE - 1)).is_allowed
    after = await counts.take("k", **TWICE_A_MINUTE, now=NOW + MINUTE)
    assert (after.is_allowed, after.count, after.ends) == (True, 1, NOW + 2 * MINUTE)


async def test_keys_are_counted_apart(counts: Counters) -> None:
    await counts.take("k", **ONCE_A_MINUTE, now=NOW)

    assert (await counts.take("another", **ONCE_A_MINUTE, now=NOW)).is_allowed


async def test_what_is_given_back_is_there_again(counts: Counters) -> None:
    await counts.take("k", **TWICE_A_MINUTE, now=NOW)
    taken = await counts.take("k", **TWICE_A_MINUTE, now=NOW)

    await counts.give_back("k", taken.ends)

    again = [(await counts.take("k", **TWICE_A_MINUTE, now=NOW)).is_allowed for _ in range(2)]
    assert again == [True, False]


async def test_nothing_is_given_back_to_a_later_window(counts: Counters) -> None:
    earlier = await counts.take("k", **TWICE_A_MINUTE, now=NOW)
    for _ in range(2):
        await counts.take("k", **TWICE_A_MINUTE, now=NOW + MINUTE)

    await counts.give_back("k", earlier.ends)

    assert not (await counts.take("k", **TWICE_A_MINUTE, now=NOW + MINUTE)).is_allowed


async def test_no_more_is_given_back_than_was_taken(counts: Counters) -> None:
    taken = await counts.take("k", **TWICE_A_MINUTE, now=NOW)

    for _ in range(3):
        await counts.give_back("k", taken.ends)

    again = [(await counts.take("k", **TWICE_A_MINUTE, now=NOW)).is_allowed for _ in range(3)]
    assert again == [True, True, False]


async def test_a_cleared_count_starts_from_nothing(counts: Counters) -> None:
    for _ in range(2):
        await counts.take("k", **TWICE_A_MINUTE, now=NOW)

    await counts.clear("k")

    assert (await counts.take("k", **TWICE_A_MINUTE, now=NOW)).count == 1


async def test_a_clock_that_went_an_hour_wrong_locks_nobody_out_for_an_hour(counts: Counters) -> None:
    for _ in range(2):
        await counts.take("k", **TWICE_A_MINUTE, now=NOW + 60 * MINUTE)

    assert (await counts.take("k", **TWICE_A_MINUTE, now=NOW)).is_allowed


async def test_rows_of_windows_that_are_over_go_at_a_later_count(postgres_counts: Counters, school: School) -> None:
    await postgres_counts.take("over", **TWICE_A_MINUTE, now=NOW)

    await postgres_counts.take("new", **TWICE_A_MINUTE, now=NOW + SWEEP_MS + 1)

    async with school.sessions() as session:
        assert list(await session.scalars(sa.select(RateCount.key))) == ["new"]


async def test_postgres_keeps_no_log_of_counts(engine: AsyncEngine) -> None:
    async with engine.connect() as connection:
        persistence = await connection.scalar(
            sa.text("SELECT relpersistence::text FROM pg_class WHERE relname = 'rate_count'")
        )

    assert persistence == "u"


async def test_a_redis_key_expires_with_its_window(redis_counts: Counters, redis: RedisServer) -> None:
    await redis_counts.take("k", **TWICE_A_MINUTE, now=NOW)
    ttl = await redis.call("PTTL", "limit:k")

    assert isinstance(ttl, int)
    assert 0 < ttl <= MINUTE


async def test_after_flushall_redis_counts_from_nothing(redis_counts: Counters, redis: RedisServer) -> None:
    await redis_counts.take("k", **TWICE_A_MINUTE, now=NOW)
    await redis.call("FLUSHALL")

    assert (await redis_counts.take("k", **TWICE_A_MINUTE, now=NOW)).count == 1


async def test_nonsense_in_redis_is_counted_over(redis_counts: Counters, redis: RedisServer) -> None:
    await redis.call("HSET", "limit:k", "count", "many", "ends", "never")

    assert (await redis_counts.take("k", **TWICE_A_MINUTE, now=NOW)).count == 1


def test_a_process_by_itself_keeps_to_the_limit() -> None:
    own = LocalCounters()

    taken = [own.take("k", **TWICE_A_MINUTE, now=NOW + number) for number in range(3)]

    assert [(one.is_allowed, one.count, one.ends) for one in taken] == [
        (True, 1, NOW + MINUTE),
        (True, 2, NOW + MINUTE),
        (False, 2, NOW + MINUTE),
    ]
    assert own.take("k", **TWICE_A_MINUTE, now=NOW + MINUTE).is_allowed


def test_a_process_by_itself_remembers_a_bounded_number_of_counts() -> None:
    """The ones it used last."""
    own = LocalCounters()

    for number in range(KEPT + 1):
        own.take(f"k{number}", **ONCE_A_MINUTE, now=NOW)

    assert not own.take("k1", **ONCE_A_MINUTE, now=NOW).is_allowed
    assert own.take("k0", **ONCE_A_MINUTE, now=NOW).is_allowed
