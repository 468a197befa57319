"""A database of its own, and what a test does to the queue past the code."""

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from alembic import command as alembic
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

from conftest import run_alembic
from mambo.database.session import Transactions, create_engine
from mambo.jobs import Handler, Job, Retries, enqueue
from mambo.web.request_log import configure_logging

PATIENCE_SECONDS = 60
FOR_EVER = 3600.0  # nothing is found by polling


class Greet(Job, frozen=True):
    """A job of the tests."""

    name: str


class Recorder:
    """A handler that notes whom it greeted."""

    def __init__(self) -> None:
        self.greeted: list[str] = []
        self._news: asyncio.Queue[str] = asyncio.Queue()

    async def greet(self, job: Greet) -> None:
        self.greeted.append(job.name)
        self._news.put_nowait(job.name)

    async def wait(self, times: int = 1) -> None:
        """Wait until that many more jobs have run."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            for _ in range(times):
                await self._news.get()

    def handler(self, **options: Any) -> Handler[Greet]:
        return Handler(Greet, self.greet, **options)


class FailingRecorder(Recorder):
    """A handler that fails each time."""

    async def greet(self, job: Greet) -> None:
        await super().greet(job)
        raise LookupError(job.name)


class Queue:
    """The queue as SQL sees it."""

    def __init__(self, engine: AsyncEngine, url: str) -> None:
        self.engine, self.url = engine, url
        self.transactions = Transactions(engine)

    async def add(self, *names: str, **options: Any) -> None:
        async with self.transactions.begin() as session:
            for name in names:
                await enqueue(session, Greet(name), **options)

    async def fetch(self, query: str) -> list[tuple[Any, ...]]:
        async with self.engine.connect() as connection:
            return [tuple(row) for row in await connection.execute(sa.text(query))]

    async def execute(self, statement: str) -> None:
        async with self.engine.begin() as connection:
            await connection.execute(sa.text(statement))

    async def statuses(self) -> list[str]:
        """The status of each job that is not done, in the order in which they were added."""
        return [status for (status,) in await self.fetch("SELECT status::text FROM jobs.queue ORDER BY id")]

    async def wait_until_empty(self) -> None:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while await self.statuses():
                pass

    async def make_due(self) -> None:
        """Move the time of every job and schedule to now."""
        await self.execute("UPDATE jobs.queue SET execute_after = now() - interval '1 second'")
        await self.execute("UPDATE jobs.schedules SET next_run = now() - interval '1 second'")

    async def make_stale(self) -> None:
        """Let every running job look as if its process had died an hour ago."""
        await self.execute("UPDATE jobs.queue SET heartbeat = now() - interval '1 hour'")


@pytest.fixture(scope="session", autouse=True)
def logging() -> None:
    """Send log lines where pytest finds them."""
    configure_logging(is_production=True)


@pytest.fixture(scope="session")
async def jobs_url(make_database: Callable[[str], Any]) -> str:
    url: str = await make_database("jobs_test")
    await run_alembic(alembic.upgrade, url, "head")
    return url


@pytest.fixture
async def queue(jobs_url: str) -> AsyncIterator[Queue]:
    engine = create_engine(jobs_url, pool_size=3)
    queue = Queue(engine, jobs_url)
    yield queue
    await queue.execute("TRUNCATE jobs.queue, jobs.log, jobs.schedules")
    await engine.dispose()


@pytest.fixture
async def session(queue: Queue) -> AsyncIterator[AsyncSession]:
    """A session that has not spoken to the database yet."""
    async with AsyncSession(queue.engine) as session:
        yield session


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


@pytest.fixture
def failing() -> FailingRecorder:
    return FailingRecorder()


@pytest.fixture
def retries() -> Retries:
    """30 seconds, a minute, 100 seconds, and then no more."""
    return Retries(first=timedelta(seconds=30), longest=timedelta(seconds=100), attempts=4)
