"""Answers that are shared: found once for all who ask at once, at whichever worker; and without Redis all the same."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from msgspec import Struct

from mambo.adapters.cache import Cache, RedisCache
from mambo.adapters.shared_results import SharedResults
from support.redis import RedisServer

HOUR = 3600.0


class Count(Struct, frozen=True):
    """An answer."""

    number: int


class Finder:
    """Finds another number each time, once it may."""

    def __init__(self) -> None:
        self.begun, self.may_end = asyncio.Event(), asyncio.Event()
        self.may_end.set()
        self.found = 0

    async def __call__(self) -> Count:
        self.begun.set()
        await self.may_end.wait()
        self.found += 1
        return Count(self.found)


@pytest.fixture
async def other_cache(redis: RedisServer) -> AsyncIterator[Cache]:
    """That of another worker."""
    async with RedisCache(redis.url).opened() as cache:
        yield cache


@pytest.fixture(params=["with Redis", "without"])
def answers(request: pytest.FixtureRequest, cache: Cache) -> SharedResults:
    return SharedResults(cache if request.param == "with Redis" else None, seconds=HOUR)


async def test_of_many_who_ask_at_once_one_finds(answers: SharedResults) -> None:
    find = Finder()
    find.may_end.clear()
    asking = [asyncio.create_task(answers.get("lessons", Count, find)) for _ in range(50)]
    await find.begun.wait()

    find.may_end.set()

    assert await asyncio.gather(*asking) == [Count(1)] * 50
    assert await answers.get("lessons", Count, find) == Count(1)


async def test_each_name_has_its_answer(answers: SharedResults) -> None:
    find = Finder()

    numbers = [(await answers.get(name, Count, find)).number for name in ("one", "two", "one")]

    assert numbers == [1, 2, 1]


async def test_a_failure_is_no_answer(answers: SharedResults) -> None:
    async def fail() -> Count:
        raise LookupError

    with pytest.raises(LookupError):
        await answers.get("lessons", Count, fail)

    assert await answers.get("lessons", Count, Finder()) == Count(1)


async def test_an_answer_that_is_over_is_found_again(cache: Cache) -> None:
    for shared in (None, cache):
        answers, find = SharedResults(shared, seconds=0), Finder()
        await answers.get("lessons", Count, find)

        again = [(await answers.get("lessons", Count, find)).number for _ in range(200)]  # Redis keeps it for a moment

        assert max(again) > 1


async def test_who_asks_at_another_worker_waits_too(cache: Cache, other_cache: Cache, redis: RedisServer) -> None:
    """Nobody there finds it a second time; and who asks later is told what is kept."""
    here, there = SharedResults(cache, seconds=HOUR), SharedResults(other_cache, seconds=HOUR)
    find, find_there = Finder(), Finder()
    find.may_end.clear()
    asking = asyncio.create_task(here.get("lessons", Count, find))
    await find.begun.wait()
    await redis.call("CONFIG", "RESETSTAT")
    asking_there = asyncio.create_task(there.get("lessons", Count, find_there))
    async with asyncio.timeout(5):  # until that worker has tried to be alone as well
        while "cmdstat_set" not in str(await redis.call("INFO", "commandstats")):
            pass

    find.may_end.set()

    assert [await asking, await asking_there] == [Count(1)] * 2
    assert find_there.found == 0
    assert await redis.call("KEYS", "mambo:lock:*") == []
    assert 0 < int(str(await redis.call("PTTL", "mambo:value:lessons"))) <= 1000 * HOUR


async def test_a_worker_that_dies_while_it_finds_is_waited_for_no_longer_than_it_may_take(
    cache: Cache, redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mambo.adapters.shared_results.FINDING_SECONDS", 0.2)
    await redis.call("SET", "mambo:lock:lessons", "of the dead")

    assert await SharedResults(cache, seconds=HOUR).get("lessons", Count, Finder()) == Count(1)


@pytest.mark.parametrize("kept", ["not JSON", '{"number":"of another version"}'])
async def test_what_cannot_be_read_is_found_again(cache: Cache, redis: RedisServer, kept: str) -> None:
    await redis.call("SET", "mambo:value:lessons", kept)

    assert await SharedResults(cache, seconds=HOUR).get("lessons", Count, Finder()) == Count(1)


async def test_a_redis_that_dies_meanwhile_is_not_missed(cache: Cache, redis: RedisServer) -> None:
    """Each worker finds its own then, once."""
    answers, find = SharedResults(cache, seconds=HOUR), Finder()
    find.may_end.clear()
    asking = asyncio.create_task(answers.get("lessons", Count, find))
    await find.begun.wait()
    await redis.kill()

    find.may_end.set()

    assert [await asking, await answers.get("lessons", Count, find)] == [Count(1)] * 2


async def test_a_redis_that_hangs_holds_nobody_up(cache: Cache, redis: RedisServer) -> None:
    redis.freeze()

    async with asyncio.timeout(5):
        assert await SharedResults(cache, seconds=HOUR).get("lessons", Count, Finder()) == Count(1)
