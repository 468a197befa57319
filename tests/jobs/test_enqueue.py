"""A job is added by the transaction that it belongs to."""

from datetime import timedelta

import msgspec
import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession

from jobs.conftest import FOR_EVER, Greet, Queue, Recorder
from mambo.jobs import Job, enqueue, run_now, running
from mambo.jobs.queue import SETTINGS


class Part(Job, frozen=True):
    """A job of another kind."""

    name: str


@pytest.mark.parametrize("statements_before", [0, 1])
async def test_a_rollback_leaves_no_job(queue: Queue, session: AsyncSession, statements_before: int) -> None:
    """Also when nothing was sent to the database before: the transaction begins with the job."""
    for _ in range(statements_before):
        await session.execute(sa.text("SELECT 1"))

    await enqueue(session, Greet("ana"))
    await session.rollback()

    assert await queue.statuses() == []


async def test_a_job_is_not_seen_before_the_commit(queue: Queue, session: AsyncSession) -> None:
    await enqueue(session, Greet("ana"))
    assert await queue.statuses() == []

    await session.commit()
    assert await queue.statuses() == ["queued"]


async def test_a_commit_wakes_a_worker(queue: Queue, recorder: Recorder) -> None:
    await queue.add("ana")
    async with running(queue.url, [recorder.handler()], poll_seconds=FOR_EVER):
        await queue.wait_until_empty()
        await queue.add("ben")
        await recorder.wait(2)

    assert recorder.greeted == ["ana", "ben"]
    assert await queue.statuses() == []


async def test_a_later_job_waits_for_its_time(queue: Queue, recorder: Recorder) -> None:
    await queue.add("ana", run_after=timedelta(hours=1))
    await queue.add("ben")
    async with running(queue.url, [recorder.handler()]):
        await recorder.wait()
    assert recorder.greeted == ["ben"]

    await queue.make_due()
    async with running(queue.url, [recorder.handler()]):
        await recorder.wait()
    assert recorder.greeted == ["ben", "ana"]


async def test_a_due_time_is_found_by_polling(queue: Queue, recorder: Recorder) -> None:
    await queue.add("ana", run_after=timedelta(hours=1))
    await queue.add("ben")

    async with running(queue.url, [recorder.handler()], poll_seconds=0.1):
        await recorder.wait()
        await queue.make_due()
        await recorder.wait()

    assert recorder.greeted == ["ben", "ana"]


async def test_the_waiting_jobs_of_a_kind_can_be_run_now(
    queue: Queue, session: AsyncSession, recorder: Recorder
) -> None:
    await queue.add("ana", run_after=timedelta(hours=1))
    await enqueue(session, Part("ben"), run_after=timedelta(hours=1))
    assert await run_now(session, Greet) == 1
    await session.commit()

    async with running(queue.url, [recorder.handler()]):
        await recorder.wait()

    assert await queue.fetch("SELECT entrypoint, execute_after > now() FROM jobs.queue") == [("Part", True)]


async def test_a_key_is_in_the_queue_once(queue: Queue, session: AsyncSession, recorder: Recorder) -> None:
    await queue.add("ana", key="a")
    await queue.add("ana", "ana", key="a")
    await queue.add("ana", key="b")
    await enqueue(session, Part("ana"), key="a")
    await session.commit()
    assert len(await queue.statuses()) == 3

    async with running(queue.url, [recorder.handler()]):
        await recorder.wait(2)
    await queue.add("ana", key="a")
    assert len(await queue.statuses()) == 2


async def test_a_kind_without_a_handler_waits(queue: Queue, session: AsyncSession, recorder: Recorder) -> None:
    """While versions change, an old process leaves the new version's jobs alone."""
    await enqueue(session, Part("ana"))
    await session.commit()
    await queue.add("ben")

    async with running(queue.url, [recorder.handler()]):
        await recorder.wait()

    assert await queue.fetch("SELECT entrypoint, status::text FROM jobs.queue") == [("Part", "queued")]


def test_the_name_of_a_job_can_outlive_its_class() -> None:
    class Renamed(Greet, frozen=True, tag="Greet"):
        pass

    assert msgspec.json.decode(msgspec.json.encode(Greet("ana")), type=Renamed) == Renamed("ana")


def test_no_name_comes_from_the_environment() -> None:
    """PgQueuer reads variables such as CHANNEL and FUNCTION for each name that is not given."""
    assert set(type(SETTINGS).model_fields) - SETTINGS.model_fields_set == {"durability", "widen_id"}
