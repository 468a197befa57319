"""The job queue in PostgreSQL: adds jobs in the caller's transaction, lists the failed ones and prunes the log."""

from collections.abc import Sequence
from datetime import datetime, timedelta

import msgspec
import sqlalchemy as sa
from msgspec import Struct
from pgqueuer.adapters.persistence.qb import QueryBuilderEnvironment, QueryQueueBuilder, QuerySchedulerBuilder
from pgqueuer.domain.settings import DBSettings
from pgqueuer.domain.types import Channel
from pgqueuer.ports.driver import Driver
from pgqueuer.queries import Queries
from sqlalchemy.ext.asyncio import AsyncSession

CHANNEL = Channel("jobs")
# Every name is given, because PgQueuer would take a missing one from an environment variable such as CHANNEL.
SETTINGS = DBSettings(
    prefix="",
    db_schema="jobs",
    channel=CHANNEL,
    function="notify",
    trigger="notify",
    queue_table="queue",
    queue_table_log="log",
    queue_status_type="status",
    schedules_table="schedules",
    statistics_table="statistics",
)
# Each parameter of the first is a list: priorities, names, payloads, waits, keys and headers.
ENQUEUE = QueryQueueBuilder(SETTINGS).build_enqueue_query("skip")
RETRY = QueryQueueBuilder(SETTINGS).build_requeue_jobs_query()
FAILED = sa.text("""
    SELECT queue.id, queue.entrypoint AS name, queue.attempts + 1 AS attempts, queue.updated AS failed_at,
           last.traceback ->> 'exception_type' AS error
    FROM jobs.queue
    LEFT JOIN LATERAL (
        SELECT log.traceback FROM jobs.log WHERE log.job_id = queue.id ORDER BY log.id DESC LIMIT 1
    ) AS last ON true
    WHERE queue.status = 'failed'
    ORDER BY queue.updated, queue.id
""")
RUN_NOW = sa.text(
    "UPDATE jobs.queue SET execute_after = now() WHERE status = 'queued' AND entrypoint = :name RETURNING id"
)
PRUNE = sa.text("DELETE FROM jobs.log WHERE created < now() - CAST(:kept AS interval)")


class Job(Struct, frozen=True, tag=True, tag_field="job"):
    """The payload of one kind of job. The queue knows the kind by the name of the subclass, or by its `tag`."""


class FailedJob(Struct, frozen=True):
    """A job that has used up its attempts."""

    id: int
    name: str
    attempts: int
    failed_at: datetime
    error: str | None  # the exception's name; None once the log was pruned


def queries(driver: Driver) -> Queries:
    """Return PgQueuer's statements on our tables."""
    return Queries(
        driver,
        QueryBuilderEnvironment(SETTINGS),
        QueryQueueBuilder(SETTINGS),
        QuerySchedulerBuilder(SETTINGS),
    )


def name_of(kind: type[Job]) -> str:
    return str(kind.__struct_config__.tag)


async def enqueue(
    session: AsyncSession, job: Job, *, run_after: timedelta = timedelta(), key: str | None = None
) -> None:
    """Add a job to the session's transaction: a rollback leaves no job, and the commit wakes a worker.

    `run_after` counts from the start of the transaction. With a `key`, nothing is added while a job of the same kind
    and key waits or runs.
    """
    name = name_of(type(job))
    dedupe_key = None if key is None else f"{name}:{key}"
    connection = await session.connection()
    # Through SQLAlchemy, because the transaction begins with its first statement there: a job that is added before, on
    # the driver's connection, survives a rollback.
    values = ([0], [name], [msgspec.json.encode(job)], [run_after], [dedupe_key], [None])
    await connection.exec_driver_sql(ENQUEUE, values)


async def run_now(session: AsyncSession, kind: type[Job]) -> int:
    """Let the waiting jobs of a kind run at the next poll, whatever their time; return how many there are."""
    return len((await session.execute(RUN_NOW, {"name": name_of(kind)})).all())


async def get_failed(session: AsyncSession) -> list[FailedJob]:
    """Return the jobs that have failed for good, the oldest failure first; they stay until they are retried."""
    return [FailedJob(**row) for row in (await session.execute(FAILED)).mappings()]


async def retry_failed(session: AsyncSession, ids: Sequence[int]) -> None:
    """Let failed jobs run again, with all their attempts."""
    connection = await session.connection()
    await connection.exec_driver_sql(RETRY, (list(ids),))


async def prune_log(session: AsyncSession, *, kept: timedelta) -> None:
    """Delete PgQueuer's log of jobs from before `kept` ago: three rows for each job, and each failure's traceback."""
    await session.execute(PRUNE, {"kept": kept})
