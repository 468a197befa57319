"""While Redis is down or hangs, a worker counts locally: the limits hold, and no request fails."""

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

MakeLimiter = Callable[..., RateLimiter]
ANA = "ana@example.com"
REDIS_KEY = f"limit:{key_of(SIGN_IN_ACCOUNT, ANA)}"


@pytest.fixture
def limiter(make_limiter: MakeLimiter, redis_counters: Counters) -> RateLimiter:
    return make_limiter(redis_counters)


async def hit(limiter: RateLimiter) -> bool:
    """Count a call, and return whether it is allowed."""
    try:
        await limiter.hit(SIGN_IN_ACCOUNT, ANA)
    except TooMany:
        return False
    return True


async def count_allowed(limiter: RateLimiter, calls: int) -> int:
    """Make calls one after another, and return how many are allowed."""
    return sum([await hit(limiter) for _ in range(calls)])


async def test_after_redis_fails_counting_goes_on_from_the_last_count(limiter: RateLimiter, redis: RedisServer) -> None:
    before = await count_allowed(limiter, 7)

    await redis.kill()

    assert before + await count_allowed(limiter, 20) == 10


async def test_without_redis_from_the_start_the_limit_holds(limiter: RateLimiter, redis: RedisServer) -> None:
    await redis.kill()

    assert await count_allowed(limiter, 100) == 10


async def test_without_redis_ten_of_a_hundred_concurrent_calls_are_allowed(
    limiter: RateLimiter, redis: RedisServer
) -> None:
    await redis.kill()

    assert sum(await asyncio.gather(*(hit(limiter) for _ in range(100)))) == 10


async def test_a_restarted_redis_is_used_again(limiter: RateLimiter, redis: RedisServer) -> None:
    await redis.kill()
    await count_allowed(limiter, 5)

    await redis.start()
    await hit(limiter)

    assert await redis.call("HGET", REDIS_KEY, "count") == "1"


async def test_without_redis_success_clears_the_count_of_the_account(limiter: RateLimiter, redis: RedisServer) -> None:
    await redis.kill()
    for _ in range(9):
        with pytest.raises(NotSignedIn):
            async with limiter.attempt((SIGN_IN_ALL, ""), (SIGN_IN_ACCOUNT, ANA)):
                raise NotSignedIn

    async with limiter.attempt((SIGN_IN_ALL, ""), (SIGN_IN_ACCOUNT, ANA)):
        pass

    assert await count_allowed(limiter, 20) == 10


async def test_with_a_hanging_redis_the_limit_holds_without_delay(
    redis: RedisServer, make_limiter: MakeLimiter
) -> None:
    """The first calls wait for half a second at most; then Redis is not called for some seconds."""
    async with RedisCache(redis.url).opened() as cache:
        limiter = make_limiter(RedisCounters(cache))
        before = await count_allowed(limiter, 3)
        redis.freeze()

        async with asyncio.timeout(5):
            assert before + await count_allowed(limiter, 200) == 10


async def test_with_a_server_that_never_responds_the_limit_holds_without_delay(make_limiter: MakeLimiter) -> None:
    async with silent_server() as url, RedisCache(url).opened() as cache, asyncio.timeout(5):
        assert await count_allowed(make_limiter(RedisCounters(cache)), 200) == 10


@asynccontextmanager
async def silent_server() -> AsyncIterator[str]:
    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(-1)
        writer.close()

    server = await asyncio.start_server(listen, "127.0.0.1")
    async with server:
        yield f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}/0"


async def test_when_redis_returns_errors_the_limit_holds(
    limiter: RateLimiter, redis: RedisServer, cache: Cache
) -> None:
    """When it is full, for example, or the key has another type."""
    del cache
    await redis.call("SET", REDIS_KEY, "not a hash")

    assert await count_allowed(limiter, 20) == 10


async def test_without_postgres_a_worker_counts_locally(make_limiter: MakeLimiter) -> None:
    async with Pool("postgresql+asyncpg://nobody@127.0.0.1:1/none", size=1).opened() as pool:
        assert await count_allowed(make_limiter(PostgresCounters(pool)), 20) == 10
