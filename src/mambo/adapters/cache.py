"""Redis, which all workers share. It may be down at any time: callers go on without it."""

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
CALL_SECONDS = 0.5  # includes the wait for a free connection
FAILURES = (RedisError, OSError)

T = TypeVar("T")
MessageHandler = Callable[[str | None], None]


class CacheUnavailable(Exception):
    """Redis failed, or did not respond in time."""


class Cache(Protocol):
    """A store that all workers share, and that each can do without."""

    async def run(self, script: str, key: str, *arguments: int) -> list[int]:
        """Run a Lua script on one key, atomically, and return its result; takes half a second at most.

        Raises:
            CacheUnavailable: the script may or may not have run.

        """
        ...

    async def get(self, name: str) -> str | None:
        """Return a value; None if it was never set, or has expired.

        Raises:
            CacheUnavailable: Redis is down.

        """
        ...

    async def set(self, name: str, value: bytes, *, seconds: float) -> None:
        """Set a value, which expires after `seconds`; does nothing while Redis is down."""
        ...

    def lock(self, name: str, *, seconds: float) -> AbstractAsyncContextManager[None]:
        """Hold a lock for the block, `seconds` at most, and wait for it as long; while Redis is down, do not lock."""
        ...

    def opened(self) -> AbstractAsyncContextManager[Self]:
        """Open the client until the block ends."""
        ...

    def publish(self, channel: str, message: str) -> None:
        """Send a message to all subscribers, in the background; it is lost while Redis is down."""
        ...

    def subscribe(self, channel: str, on_message: MessageHandler) -> None:
        """Call `on_message` with each message, and with None after messages may have been lost."""
        ...


class RedisCache:
    """Redis, with at most 10 connections. After 3 consecutive failures it is not called for `recovery_seconds`.

    A subscription that receives nothing for `silence_seconds` sends a ping, and reconnects when no reply comes.

    The pool waits for a free connection. A pool that grows on demand would connect for every caller at once, and its
    connections would time out.
    """

    def __init__(self, url: str, *, recovery_seconds: float = 5.0, silence_seconds: float = 5.0) -> None:
        self._redis = Redis.from_pool(
            BlockingConnectionPool.from_url(
                url,
                max_connections=CONNECTIONS,
                timeout=CALL_SECONDS,
                socket_connect_timeout=SOCKET_SECONDS,
                socket_timeout=SOCKET_SECONDS,
                retry=Retry(NoBackoff(), 1, (ConnectionLost,)),  # the server of a kept connection may have restarted
                decode_responses=True,
            )
        )
        self._breaker = Breaker(
            failures=3,
            recovery_seconds=recovery_seconds,
            is_failure=lambda _kind, error: isinstance(error, FAILURES),
            refusal=lambda _seconds: CacheUnavailable("the circuit breaker is open"),
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

    async def set(self, name: str, value: bytes, *, seconds: float) -> None:
        with suppress(CacheUnavailable):
            await self._call(partial(self._redis.set, f"mambo:value:{name}", value, px=max(1, int(1000 * seconds))))

    @asynccontextmanager
    async def lock(self, name: str, *, seconds: float) -> AsyncIterator[None]:
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

    def subscribe(self, channel: str, on_message: MessageHandler) -> None:
        self._start(self._listen(channel, on_message))

    async def _listen(self, channel: str, on_message: MessageHandler) -> None:
        while True:
            try:
                async with self._redis.pubsub() as subscription:
                    await subscription.subscribe(channel)
                    await self._receive(subscription, on_message)
            except Exception as error:  # noqa: BLE001 - a subscription that ended would miss all later messages
                log.warning("Redis subscription failed", error=repr(error))
            await asyncio.sleep(self._recovery_seconds)

    async def _receive(self, subscription: PubSub, on_message: MessageHandler) -> None:
        """Pass messages on until a ping gets no reply."""
        is_pinged = False
        while True:
            message = await subscription.get_message(timeout=self._silence_seconds)
            if message is None:
                if is_pinged:
                    raise TimeoutError
                await subscription.ping()
            is_pinged = message is None
            match message:
                case {"type": "subscribe"}:  # at first, and whenever the library has reconnected
                    on_message(None)
                case {"type": "message", "data": str(text)}:
                    on_message(text)

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[Self]:
        """Open the client until the block ends; it connects with the first call."""
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
