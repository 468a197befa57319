"""Shared results: computed once for all workers, and without Redis once for each."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from msgspec import Struct

from mambo.adapters.cache import Cache, RedisCache
from mambo.adapters.shared_results import SharedResults
from support.redis import RedisServer

HOUR = 3600.0


class Count(Struct, frozen=True):
    """A result."""

    number: int


class Computation:
    """Returns the next number, as soon as it may."""

    def __init__(self) -> None:
        self.begun, self.may_end = asyncio.Event(), asyncio.Event()
        self.may_end.set()
        self.count = 0

    async def __call__(self) -> Count:
        self.begun.set()
        await self.may_end.wait()
        self.count += 1
        return Count(self.count)


@pytest.fixture
async def other_cache(redis: RedisServer) -> AsyncIterator[Cache]:
    """The cache of another worker."""
    async with RedisCache(redis.url).opened() as cache:
        yield cache


@pytest.fixture(params=["with Redis", "without"])
def results(request: pytest.FixtureRequest, cache: Cache) -> SharedResults:
    return SharedResults(cache if request.param == "with Redis" else None, seconds=HOUR)


async def test_one_of_many_concurrent_callers_computes(results: SharedResults) -> None:
    compute = Computation()
    compute.may_end.clear()
    waiting = [asyncio.create_task(results.get("lessons", Count, compute)) for _ in range(50)]
    await compute.begun.wait()

    compute.may_end.set()

    assert await asyncio.gather(*waiting) == [Count(1)] * 50
    assert await results.get("lessons", Count, compute) == Count(1)


async def test_each_name_has_its_own_result(results: SharedResults) -> None:
    compute = Computation()

    numbers = [(await results.get(name, Count, compute)).number for name in ("one", "two", "one")]

    assert numbers == [1, 2, 1]


async def test_a_failure_is_not_cached(results: SharedResults) -> None:
    async def fail() -> Count:
        raise LookupError

    with pytest.raises(LookupError):
        await results.get("lessons", Count, fail)

    assert await results.get("lessons", Count, Computation()) == Count(1)


async def test_an_expired_result_is_computed_again(cache: Cache) -> None:
    for shared in (None, cache):
        results, compute = SharedResults(shared, seconds=0), Computation()
        await results.get("lessons", Count, compute)

        # Redis keeps a value for at least 1 ms.
        again = [(await results.get("lessons", Count, compute)).number for _ in range(200)]

        assert max(again) > 1


async def test_callers_in_another_worker_wait_too(cache: Cache, other_cache: Cache, redis: RedisServer) -> None:
    """It is not computed there a second time, and the result stays in Redis until it expires."""
    results, other_results = SharedResults(cache, seconds=HOUR), SharedResults(other_cache, seconds=HOUR)
    compute, other_compute = Computation(), Computation()
    compute.may_end.clear()
    waiting = asyncio.create_task(results.get("lessons", Count, compute))
    await compute.begun.wait()
    await redis.call("CONFIG", "RESETSTAT")
    other_waiting = asyncio.create_task(other_results.get("lessons", Count, other_compute))
    async with asyncio.timeout(5):  # until that worker has tried to take the lock
        while "cmdstat_set" not in str(await redis.call("INFO", "commandstats")):
            pass

    compute.may_end.set()

    assert [await waiting, await other_waiting] == [Count(1)] * 2
    assert other_compute.count == 0
    assert await redis.call("KEYS", "mambo:lock:*") == []
    assert 0 < int(str(await redis.call("PTTL", "mambo:value:lessons"))) <= 1000 * HOUR


async def test_the_lock_of_a_dead_worker_expires(
    cache: Cache, redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mambo.adapters.shared_results.COMPUTE_SECONDS", 0.2)
    await redis.call("SET", "mambo:lock:lessons", "a dead worker")

    assert await SharedResults(cache, seconds=HOUR).get("lessons", Count, Computation()) == Count(1)


@pytest.mark.parametrize("stored", ["not JSON", '{"number":"of another version"}'])
async def test_a_value_that_cannot_be_decoded_is_computed_again(cache: Cache, redis: RedisServer, stored: str) -> None:
    await redis.call("SET", "mambo:value:lessons", stored)

    assert await SharedResults(cache, seconds=HOUR).get("lessons", Count, Computation()) == Count(1)


async def test_each_worker_computes_its_own_result_when_redis_dies(cache: Cache, redis: RedisServer) -> None:
    """Each worker finds its own then, once."""
    results, compute = SharedResults(cache, seconds=HOUR), Computation()
    compute.may_end.clear()
    waiting = asyncio.create_task(results.get("lessons", Count, compute))
    await compute.begun.wait()
    await redis.kill()

    compute.may_end.set()

    assert [await waiting, await results.get("lessons", Count, compute)] == [Count(1)] * 2


async def test_a_redis_that_hangs_does_not_block_callers(cache: Cache, redis: RedisServer) -> None:
    redis.freeze()

    async with asyncio.timeout(5):
        assert await SharedResults(cache, seconds=HOUR).get("lessons", Count, Computation()) == Count(1)
