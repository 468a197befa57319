"""What workers tell each other through Redis: heard while it runs, and never in the way when it does not."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from mambo.adapters.cache import Cache, RedisCache
from support.redis import AT_ONCE, PATIENCE_SECONDS, RedisServer


class Ear:
    """What a worker heard, in order."""

    def __init__(self, cache: Cache) -> None:
        self._words: asyncio.Queue[str | None] = asyncio.Queue()
        cache.subscribe("channel", self._words.put_nowait)

    async def next(self) -> str | None:
        async with asyncio.timeout(PATIENCE_SECONDS):
            return await self._words.get()


@pytest.fixture
async def other(redis: RedisServer) -> AsyncIterator[Cache]:
    """Another worker, which soon wonders at a silence."""
    async with RedisCache(redis.url, recovery_seconds=AT_ONCE, silence_seconds=0.05).opened() as cache:
        yield cache


async def test_what_one_worker_publishes_another_hears(cache: Cache, other: Cache) -> None:
    ear = Ear(other)
    assert await ear.next() is None

    for word in ("one", "two", "three"):
        cache.publish("channel", word)

    assert {await ear.next() for _ in range(3)} == {"one", "two", "three"}


async def test_other_channels_are_not_heard(cache: Cache, other: Cache) -> None:
    ear = Ear(other)
    await ear.next()

    cache.publish("elsewhere", "not this")
    cache.publish("channel", "this")

    assert await ear.next() == "this"


async def test_a_message_that_makes_no_sense_is_taken_for_one_that_was_missed(cache: Cache, other: Cache) -> None:
    """Whoever listens may fail on it, and goes on listening."""
    numbers: asyncio.Queue[int | None] = asyncio.Queue()
    other.subscribe("channel", lambda text: numbers.put_nowait(int(text) if text else None))

    async with asyncio.timeout(PATIENCE_SECONDS):
        assert await numbers.get() is None
        cache.publish("channel", "nonsense")
        assert await numbers.get() is None
        cache.publish("channel", "7")
        assert await numbers.get() == 7


async def test_who_heard_nothing_for_a_while_is_told_that_something_may_have_been_missed(
    cache: Cache, other: Cache, redis: RedisServer
) -> None:
    """Redis died, and came back."""
    ear = Ear(other)
    await ear.next()
    await redis.kill()

    await redis.start()

    assert await ear.next() is None
    cache.publish("channel", "heard")
    assert await ear.next() == "heard"


async def test_a_redis_that_falls_silent_is_left_for_another_connection(cache: Cache, redis: RedisServer) -> None:
    """Nothing ends such a connection: the other end is frozen, or unplugged."""
    async with (
        line_to(redis) as line,
        RedisCache(line.url, recovery_seconds=AT_ONCE, silence_seconds=0.05).opened() as other,
    ):
        ear = Ear(other)
        await ear.next()
        line.drain()

        line.is_mute = True
        await line.next()
        line.is_mute = False

        assert await ear.next() is None
        cache.publish("channel", "heard")
        assert await ear.next() == "heard"


class Line:
    """A way to Redis that can lose all that is said, without breaking."""

    def __init__(self, redis: RedisServer) -> None:
        self.redis, self.is_mute, self.url = redis, False, ""
        self._connected: asyncio.Queue[None] = asyncio.Queue()

    async def connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._connected.put_nowait(None)
        up, down = await asyncio.open_connection("127.0.0.1", self.redis.port)
        await asyncio.gather(self._carry(reader, down), self._carry(up, writer))

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while said := await reader.read(1 << 16):
            if not self.is_mute:
                writer.write(said)
        writer.close()

    def drain(self) -> None:
        """Forget the connections so far."""
        while not self._connected.empty():
            self._connected.get_nowait()

    async def next(self) -> None:
        """Wait for another connection."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            await self._connected.get()


@asynccontextmanager
async def line_to(redis: RedisServer) -> AsyncIterator[Line]:
    line = Line(redis)
    server = await asyncio.start_server(line.connect, "127.0.0.1")
    line.url = f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}/0"
    async with server:
        yield line


async def test_a_silence_by_itself_is_no_reason_to_connect_anew(cache: Cache, other: Cache, redis: RedisServer) -> None:
    """Ten times as long as it takes to wonder: the server answers each time, and nothing is told."""
    ear = Ear(other)
    await ear.next()
    pings = 0
    async with asyncio.timeout(PATIENCE_SECONDS):
        while pings < 10:
            pings = await calls_of(redis, "ping")

    cache.publish("channel", "heard")
    assert await ear.next() == "heard"


async def calls_of(redis: RedisServer, command: str) -> int:
    """How often the command was called since the server started."""
    stats = await redis.call("INFO", "commandstats")
    assert isinstance(stats, dict)
    return int(stats.get(f"cmdstat_{command}", {}).get("calls", 0))


async def test_a_worker_starts_and_speaks_without_redis(redis: RedisServer) -> None:
    """It hears as soon as there is one."""
    await redis.kill()
    async with RedisCache(redis.url, recovery_seconds=AT_ONCE).opened() as cache:
        ear = Ear(cache)
        cache.publish("channel", "lost")

        await redis.start()

        assert await ear.next() is None
