"""Messages between workers over Redis, with which they invalidate their caches of principals."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from mambo.adapters.cache import Cache, RedisCache
from support.redis import AT_ONCE, PATIENCE_SECONDS, RedisServer


class Subscriber:
    """The messages that a worker received, in order; None means that some may have been lost."""

    def __init__(self, cache: Cache) -> None:
        self._messages: asyncio.Queue[str | None] = asyncio.Queue()
        cache.subscribe("channel", self._messages.put_nowait)

    async def next(self) -> str | None:
        async with asyncio.timeout(PATIENCE_SECONDS):
            return await self._messages.get()


@pytest.fixture
async def other(redis: RedisServer) -> AsyncIterator[Cache]:
    """The cache of another worker; it pings Redis after 50 ms without a message."""
    async with RedisCache(redis.url, recovery_seconds=AT_ONCE, silence_seconds=0.05).opened() as cache:
        yield cache


async def test_a_message_reaches_the_other_worker(cache: Cache, other: Cache) -> None:
    subscriber = Subscriber(other)
    assert await subscriber.next() is None

    for message in ("one", "two", "three"):
        cache.publish("channel", message)

    assert {await subscriber.next() for _ in range(3)} == {"one", "two", "three"}


async def test_messages_of_other_channels_are_not_received(cache: Cache, other: Cache) -> None:
    subscriber = Subscriber(other)
    await subscriber.next()

    cache.publish("elsewhere", "not this")
    cache.publish("channel", "this")

    assert await subscriber.next() == "this"


async def test_after_a_message_that_cannot_be_handled_some_may_have_been_lost(cache: Cache, other: Cache) -> None:
    """The subscriber may raise, and stays subscribed."""
    numbers: asyncio.Queue[int | None] = asyncio.Queue()
    other.subscribe("channel", lambda text: numbers.put_nowait(int(text) if text else None))

    async with asyncio.timeout(PATIENCE_SECONDS):
        assert await numbers.get() is None
        cache.publish("channel", "not a number")
        assert await numbers.get() is None
        cache.publish("channel", "7")
        assert await numbers.get() == 7


async def test_after_a_restart_of_redis_messages_may_have_been_lost(
    cache: Cache, other: Cache, redis: RedisServer
) -> None:
    """Redis was killed and started again."""
    subscriber = Subscriber(other)
    await subscriber.next()
    await redis.kill()

    await redis.start()

    assert await subscriber.next() is None
    cache.publish("channel", "received")
    assert await subscriber.next() == "received"


async def test_a_connection_without_responses_is_replaced(cache: Cache, redis: RedisServer) -> None:
    """Nothing closes the connection when the other end hangs or is unplugged."""
    async with (
        proxy_of(redis) as proxy,
        RedisCache(proxy.url, recovery_seconds=AT_ONCE, silence_seconds=0.05).opened() as other,
    ):
        subscriber = Subscriber(other)
        await subscriber.next()
        proxy.forget_connections()

        proxy.is_blocked = True
        await proxy.wait_for_connection()
        proxy.is_blocked = False

        assert await subscriber.next() is None
        cache.publish("channel", "received")
        assert await subscriber.next() == "received"


class Proxy:
    """A proxy of Redis that can drop all data and keep the connections open."""

    def __init__(self, redis: RedisServer) -> None:
        self.redis, self.is_blocked, self.url = redis, False, ""
        self._connected: asyncio.Queue[None] = asyncio.Queue()

    async def connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._connected.put_nowait(None)
        up, down = await asyncio.open_connection("127.0.0.1", self.redis.port)
        await asyncio.gather(self._copy(reader, down), self._copy(up, writer))

    async def _copy(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(1 << 16):
            if not self.is_blocked:
                writer.write(data)
        writer.close()

    def forget_connections(self) -> None:
        """Ignore the connections so far."""
        while not self._connected.empty():
            self._connected.get_nowait()

    async def wait_for_connection(self) -> None:
        async with asyncio.timeout(PATIENCE_SECONDS):
            await self._connected.get()


@asynccontextmanager
async def proxy_of(redis: RedisServer) -> AsyncIterator[Proxy]:
    proxy = Proxy(redis)
    server = await asyncio.start_server(proxy.connect, "127.0.0.1")
    proxy.url = f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}/0"
    async with server:
        yield proxy


async def test_a_connection_without_messages_is_kept(cache: Cache, other: Cache, redis: RedisServer) -> None:
    """For ten pings without another message."""
    subscriber = Subscriber(other)
    await subscriber.next()
    pings = 0
    async with asyncio.timeout(PATIENCE_SECONDS):
        while pings < 10:
            pings = await count_calls(redis, "ping")

    cache.publish("channel", "received")
    assert await subscriber.next() == "received"


async def count_calls(redis: RedisServer, command: str) -> int:
    """Return the number of calls of a command since the server started."""
    stats = await redis.call("INFO", "commandstats")
    assert isinstance(stats, dict)
    return int(stats.get(f"cmdstat_{command}", {}).get("calls", 0))


async def test_a_worker_starts_and_publishes_without_redis(redis: RedisServer) -> None:
    """It subscribes as soon as Redis runs."""
    await redis.kill()
    async with RedisCache(redis.url, recovery_seconds=AT_ONCE).opened() as cache:
        subscriber = Subscriber(cache)
        cache.publish("channel", "lost")

        await redis.start()

        assert await subscriber.next() is None
