"""What the workers share: Redis, which may be gone at any time, and then costs nothing."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, suppress
from functools import partial
from typing import Any, Protocol, Self, TypeVar, cast

import structlog
from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.client import PubSub
from redis.asyncio.lock import Lock
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as ConnectionLost
from redis.exceptions import RedisError

from mambo.adapters.breaker import Breaker

log = structlog.get_logger(__name__)

CONNECTIONS = 10
SOCKET_SECONDS = 0.1
CALL_SECONDS = 0.5  # with the wait for a connection, where many ask at once
FAILURES = (RedisError, OSError)

T = TypeVar("T")
MessageHandler = Callable[[str | None], None]


class CacheUnavailable(Exception):
    """Redis did not do it, or did not say so in time."""


class Cache(Protocol):
    """A store that the workers share and can do without."""

    async def run(self, script: str, key: str, *arguments: int) -> list[int]:
        """Run a Lua script over one key, atomically; it ends within half a second.

        Raises:
            CacheDown: it may or may not have run.

        """
        ...

    async def get(self, name: str) -> str | None:
        """What was put under a name; None when nothing was or its time is over.

        Raises:
            CacheDown: who knows.

        """
        ...

    async def put(self, name: str, value: bytes, *, seconds: float) -> None:
        """Keep a value for so long; while Redis is down it is not kept."""
        ...

    def alone(self, name: str, *, seconds: float) -> AbstractAsyncContextManager[None]:
        """Keep other workers out of a block, at most for so long; while Redis is down nobody is kept out."""
        ...

    def opened(self) -> AbstractAsyncContextManager[Self]:
        """Work until the block ends."""
        ...

    def publish(self, channel: str, message: str) -> None:
        """Tell whoever listens, soon; what is told while Redis is down is lost."""
        ...

    def subscribe(self, channel: str, heard: MessageHandler) -> None:
        """Call `heard` with every message until the cache is closed, and with None where some may have been missed."""
        ...


class RedisCache:
    """Redis, at most 10 connections; after 3 failures in a row it is left alone for `recovery_seconds`.

    A subscription that hears nothing for `silence_seconds` asks, and after as long again is made anew.

    The pool waits for a free connection: one that only ever grew would connect for everyone at once, and time out.
    """

    def __init__(self, url: str, *, recovery_seconds: float = 5.0, silence_seconds: float = 5.0) -> None:
        self._redis = Redis.from_pool(
            BlockingConnectionPool.from_url(
                url,
                max_connections=CONNECTIONS,
                timeout=CALL_SECONDS,
                socket_connect_timeout=SOCKET_SECONDS,
                socket_timeout=SOCKET_SECONDS,
                retry=Retry(NoBackoff(), 1, (ConnectionLost,)),  # a kept connection may be to a Redis that is gone
                decode_responses=True,
            )
        )
        self._breaker = Breaker(
            failures=3,
            recovery_seconds=recovery_seconds,
            is_failure=lambda _kind, error: isinstance(error, FAILURES),
            refusal=lambda _seconds: CacheUnavailable("left alone"),
        )
        self._recovery_seconds, self._silence_seconds = recovery_seconds, silence_seconds
        self._scripts: dict[str, Any] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self, script: str, key: str, *arguments: int) -> list[int]:
        if script not in self._scripts:
            self._scripts[script] = self._redis.register_script(script)
        return await self._call(partial(self._scripts[script], keys=[key], args=arguments))

    async def get(self, name: str) -> str | None:
        value: str | None = await self._call(partial(cast("Any", self._redis).get, f"mambo:value:{name}"))
        return value

    async def put(self, name: str, value: bytes, *, seconds: float) -> None:
        with suppress(CacheUnavailable):
            await self._call(partial(self._redis.set, f"mambo:value:{name}", value, px=max(1, int(1000 * seconds))))

    @asynccontextmanager
    async def alone(self, name: str, *, seconds: float) -> AsyncIterator[None]:
        lock = self._redis.lock(f"mambo:lock:{name}", timeout=seconds, blocking_timeout=seconds)
        async with AsyncExitStack() as stack:
            with suppress(CacheUnavailable):
                if await self._call(lock.acquire, seconds=seconds + CALL_SECONDS):
                    stack.push_async_callback(self._release, lock)
            yield

    async def _release(self, lock: Lock) -> None:
        with suppress(CacheUnavailable):
            await self._call(lock.release)

    def publish(self, channel: str, message: str) -> None:
        self._start(self._publish(channel, message))

    async def _publish(self, channel: str, message: str) -> None:
        with suppress(CacheUnavailable):
            await self._call(partial(self._redis.publish, channel, message))

    async def _call(self, call: Callable[[], Awaitable[T]], *, seconds: float = CALL_SECONDS) -> T:
        try:
            with self._breaker:
                async with asyncio.timeout(seconds):
                    return await call()
        except FAILURES as error:
            log.warning("Redis failed", error=repr(error))
            raise CacheUnavailable from error

    def subscribe(self, channel: str, heard: MessageHandler) -> None:
        self._start(self._listen(channel, heard))

    async def _listen(self, channel: str, heard: MessageHandler) -> None:
        while True:
            try:
                async with self._redis.pubsub() as subscription:
                    await subscription.subscribe(channel)
                    await self._hear(subscription, heard)
            except Exception as error:  # noqa: BLE001 - whoever stops listening would never know what they missed
                log.warning("Redis cannot be heard", error=repr(error))
            await asyncio.sleep(self._recovery_seconds)

    async def _hear(self, subscription: PubSub, heard: MessageHandler) -> None:
        """Pass on what comes, until nothing does: a silent server is asked, and one that stays silent is given up."""
        is_asked = False
        while True:
            message = await subscription.get_message(timeout=self._silence_seconds)
            if message is None:
                if is_asked:
                    raise TimeoutError
                await subscription.ping()
            is_asked = message is None
            match message:
                case {"type": "subscribe"}:  # the first time, and whenever the library has connected anew
                    heard(None)
                case {"type": "message", "data": str(text)}:
                    heard(text)

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[Self]:
        """Work until the block ends; nothing is asked of Redis before the first call."""
        try:
            yield self
        finally:
            await self._close()

    async def _close(self) -> None:
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        with suppress(*FAILURES):
            await self._redis.aclose()
            await self._redis.connection_pool.disconnect()
