"""When Redis dies, hangs or comes back: a worker counts by itself meanwhile. Never open, and never an error."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from mambo.adapters.cache import Cache, RedisCache
from mambo.adapters.counters import Counters, RedisCounters
from mambo.database.pool import Pool
from mambo.errors import NotSignedIn, TooMany
from mambo.limits.repository import PostgresCounters
from mambo.limits.rules import SIGN_IN_ACCOUNT, SIGN_IN_ALL
from mambo.limits.service import RateLimiter, key_of
from support.redis import RedisServer

MakeLimits = Callable[..., RateLimiter]
ANA = "ana@example.com"
REDIS_KEY = f"limit:{key_of(SIGN_IN_ACCOUNT, ANA)}"


@pytest.fixture
def limits(make_limits: MakeLimits, redis_counts: Counters) -> RateLimiter:
    return make_limits(redis_counts)


async def passes(limits: RateLimiter) -> bool:
    try:
        await limits.hit(SIGN_IN_ACCOUNT, ANA)
    except TooMany:
        return False
    return True


async def passed(limits: RateLimiter, times: int) -> int:
    return sum([await passes(limits) for _ in range(times)])


async def test_a_redis_that_dies_on_the_way_leaves_the_count_where_it_was(
    limits: RateLimiter, redis: RedisServer
) -> None:
    before = await passed(limits, 7)

    await redis.kill()

    assert before + await passed(limits, 20) == 10


async def test_without_redis_from_the_start_the_limit_holds(limits: RateLimiter, redis: RedisServer) -> None:
    await redis.kill()

    assert await passed(limits, 100) == 10


async def test_without_redis_a_hundred_at_once_are_ten(limits: RateLimiter, redis: RedisServer) -> None:
    await redis.kill()

    assert sum(await asyncio.gather(*(passes(limits) for _ in range(100)))) == 10


async def test_a_redis_that_is_back_is_used_again(limits: RateLimiter, redis: RedisServer) -> None:
    await redis.kill()
    await passed(limits, 5)

    await redis.start()
    await passes(limits)

    assert await redis.call("HGET", REDIS_KEY, "count") == "1"


async def test_without_redis_success_still_clears_the_account(limits: RateLimiter, redis: RedisServer) -> None:
    await redis.kill()
    for _ in range(9):
        with pytest.raises(NotSignedIn):
            async with limits.attempt((SIGN_IN_ALL, ""), (SIGN_IN_ACCOUNT, ANA)):
                raise NotSignedIn

    async with limits.attempt((SIGN_IN_ALL, ""), (SIGN_IN_ACCOUNT, ANA)):
        pass

    assert await passed(limits, 20) == 10


async def test_a_redis_that_hangs_holds_nobody_up_and_lets_nobody_through(
    redis: RedisServer, make_limits: MakeLimits
) -> None:
    """At most half a second for the few that find out, and then nothing for a while."""
    async with RedisCache(redis.url).opened() as cache:
        limits = make_limits(RedisCounters(cache))
        before = await passed(limits, 3)
        redis.freeze()

        async with asyncio.timeout(5):
            assert before + await passed(limits, 200) == 10


async def test_a_server_that_takes_connections_and_says_nothing_holds_nobody_up(make_limits: MakeLimits) -> None:
    async with silent_server() as url, RedisCache(url).opened() as cache, asyncio.timeout(5):
        assert await passed(make_limits(RedisCounters(cache)), 200) == 10


@asynccontextmanager
async def silent_server() -> AsyncIterator[str]:
    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(-1)
        writer.close()

    server = await asyncio.start_server(listen, "127.0.0.1")
    async with server:
        yield f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}/0"


async def test_a_redis_that_refuses_lets_nobody_through(limits: RateLimiter, redis: RedisServer, cache: Cache) -> None:
    """Such as one that is full, or whose key is of another type."""
    del cache
    await redis.call("SET", REDIS_KEY, "not a hash")

    assert await passed(limits, 20) == 10


async def test_without_postgres_a_worker_counts_by_itself_too(make_limits: MakeLimits) -> None:
    async with Pool("postgresql+asyncpg://nobody@127.0.0.1:1/none", size=1).opened() as pool:
        assert await passed(make_limits(PostgresCounters(pool)), 20) == 10
