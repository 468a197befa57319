"""Runs jobs and schedules beside the requests, in every server process."""

import asyncio
import math
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from functools import partial
from typing import Any, Generic, TypeVar

import asyncpg
import msgspec
import sqlalchemy as sa
import structlog
from msgspec import Struct
from pgqueuer import PgQueuer
from pgqueuer.adapters.drivers.asyncpg import AsyncpgDriver
from pgqueuer.domain.errors import RetryRequested
from pgqueuer.domain.models import Job as QueuedJob
from pgqueuer.domain.models import Schedule as DueSchedule

from mambo.database.session import COMMAND_SECONDS, CONNECT_SECONDS
from mambo.database.statements import DIALECT
from mambo.errors import MamboError
from mambo.jobs.queue import CHANNEL, Job, name_of, queries
from mambo.jobs.rules import Retries

log = structlog.get_logger(__name__)

JobT = TypeVar("JobT", bound=Job)

APPLICATION_NAME = "mambo jobs"  # in pg_stat_activity
AT_ONCE = 4  # jobs in one process, so that they leave the requests most of the connections and of the event loop
POLL_SECONDS = 10.0
RECONNECT_SECONDS = 5.0
GRACE_SECONDS = 5.0
LOST_AFTER = timedelta(seconds=30)


class Handler(Struct, Generic[JobT], frozen=True):
    """What runs one kind of job, how long it may take, and what happens when it fails."""

    job: type[JobT]
    run: Callable[[JobT], Awaitable[object]]
    retries: Retries = Retries()
    seconds: float = 60.0


class Schedule(Struct, frozen=True):
    """What runs at the times of a cron expression, once over all processes.

    A sixth field is the second: `* * * * * */10` is every ten seconds, `0 4 * * *` every day at four o'clock UTC. A
    run that fails is logged; the next one comes at its time.
    """

    name: str
    cron: str
    run: Callable[[], Awaitable[object]]
    seconds: float = 60.0


@asynccontextmanager
async def running(
    url: str,
    handlers: Sequence[Handler[Any]],
    schedules: Sequence[Schedule] = (),
    *,
    poll_seconds: float = POLL_SECONDS,
    grace_seconds: float = GRACE_SECONDS,
) -> AsyncIterator[None]:
    """Run jobs and schedules until the block ends, on a database connection of their own.

    A new job is noticed at once; a retry, a later job and a job of a process that died, within `poll_seconds`. At the
    end, what runs has `grace_seconds` to finish; a job that has not goes back into the queue.
    """
    worker = Worker(url, handlers, schedules, poll_seconds)
    task = asyncio.create_task(worker.run())
    try:
        yield
    finally:
        worker.stop(grace_seconds)
        await task


class Worker:
    """PgQueuer on one connection, started again whenever the connection or the database is lost."""

    def __init__(
        self, url: str, handlers: Sequence[Handler[Any]], schedules: Sequence[Schedule], poll_seconds: float
    ) -> None:
        self.url, self.handlers, self.schedules, self.poll_seconds = url, handlers, schedules, poll_seconds
        self._stopping = asyncio.Event()
        self._deadline = math.inf
        self._limits: set[asyncio.Timeout] = set()
        self._pgqueuer: PgQueuer | None = None

    async def run(self) -> None:
        """Work until `stop`; a lost connection is logged, and replaced after some seconds."""
        while not self._stopping.is_set():
            try:
                await self._work()
            except Exception as error:  # noqa: BLE001 - a subscription that ended would miss all later messages
                log.warning("jobs interrupted", reason=type(error).__name__)
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._stopping.wait(), RECONNECT_SECONDS)

    def stop(self, grace_seconds: float) -> None:
        """Take no more work, and give what runs `grace_seconds`."""
        self._stopping.set()
        self._deadline = asyncio.get_running_loop().time() + grace_seconds
        for limit in self._limits:
            if not limit.expired():
                limit.reschedule(self._deadline)
        if self._pgqueuer is not None:
            self._pgqueuer.shutdown.set()

    async def _work(self) -> None:
        _, options = DIALECT.create_connect_args(sa.make_url(self.url))
        options.pop("prepared_statement_cache_size", None)  # SQLAlchemy's own
        timeouts = {"timeout": CONNECT_SECONDS, "command_timeout": COMMAND_SECONDS}
        server_settings = {"application_name": APPLICATION_NAME}
        connection = await asyncpg.connect(**options, **timeouts, server_settings=server_settings)
        try:
            self._pgqueuer = pgqueuer = self._build(connection)
            connection.add_termination_listener(lambda _: pgqueuer.shutdown.set())
            if self._stopping.is_set():
                return
            await pgqueuer.run(
                dequeue_timeout=timedelta(seconds=self.poll_seconds),
                batch_size=AT_ONCE // 2,
                max_concurrent_tasks=AT_ONCE,
                heartbeat_timeout=LOST_AFTER,
                log_aggregation_interval=timedelta(),  # statistics are for its dashboard
            )
            if not self._stopping.is_set():
                raise ConnectionError
        finally:
            connection.terminate()

    def _build(self, connection: Any) -> PgQueuer:
        driver = AsyncpgDriver(connection)
        pgqueuer = PgQueuer(driver, CHANNEL, queries=queries(driver))
        for handler in self.handlers:
            register = pgqueuer.entrypoint(name_of(handler.job), on_failure="hold", accepts_context=False)
            register(partial(self._attempt, handler))
        for schedule in self.schedules:
            pgqueuer.schedule(schedule.name, schedule.cron, accepts_context=False)(partial(self._tick, schedule))
        return pgqueuer

    async def _attempt(self, handler: Handler[Any], queued: QueuedJob) -> None:
        """Run a job; PgQueuer puts it back for `RetryRequested` and keeps it as failed for any other exception."""
        try:
            async with self._limited(handler.seconds):
                await handler.run(msgspec.json.decode(queued.payload or b"", type=handler.job))
        except asyncio.CancelledError as error:
            # PgQueuer, which cancels jobs when it fails while they end, would count this one as done.
            raise RetryRequested(reason="cancelled") from error
        except Exception as error:
            if isinstance(error, TimeoutError) and self._stopping.is_set():
                raise RetryRequested(reason="stopped") from error
            failures = queued.attempts + 1
            details = {"job": queued.entrypoint, "job_id": queued.id, "attempt": failures, **describe(error)}
            delay = handler.retries.delay(failures)
            if delay is None:
                log.error("job failed", **details)  # noqa: TRY400 - the details have the traceback
                raise
            log.warning("job retried", seconds=delay.total_seconds(), **details)
            raise RetryRequested(delay, type(error).__name__) from error

    async def _tick(self, schedule: Schedule, _: DueSchedule) -> None:
        try:
            async with self._limited(schedule.seconds):
                await schedule.run()
        except Exception as error:  # noqa: BLE001 - the next run is due all the same
            log.error("schedule failed", schedule=schedule.name, **describe(error))  # noqa: TRY400 - as above

    @asynccontextmanager
    async def _limited(self, seconds: float) -> AsyncIterator[None]:
        """Cancel the block after `seconds`, or at the deadline of `stop`; TimeoutError then."""
        when = min(asyncio.get_running_loop().time() + seconds, self._deadline)
        async with asyncio.timeout_at(when) as limit:
            self._limits.add(limit)
            try:
                yield
            finally:
                self._limits.discard(limit)


def describe(error: Exception) -> dict[str, Any]:
    """Return an error for the log: the sentence of a MamboError; of any other its name, with the traceback."""
    if isinstance(error, MamboError):
        return {"reason": error.detail}
    return {"reason": type(error).__name__, "exc_info": error}
