"""A schedule runs once over all processes."""

import asyncio
from collections.abc import Sequence

import pytest
from pgqueuer.domain.models import Schedule as DueSchedule
from pgqueuer.queries import Queries

from jobs.conftest import FOR_EVER, PATIENCE_SECONDS, Greet, Queue, Recorder
from mambo.jobs import Schedule, running

DAILY = "0 4 * * *"


class Polls:
    """What each look for due schedules found."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._found: asyncio.Queue[int] = asyncio.Queue()
        fetch = Queries.fetch_schedule

        async def noted(queries: Queries, *arguments: object) -> Sequence[DueSchedule]:
            found = await fetch(queries, *arguments)  # type: ignore[arg-type]
            self._found.put_nowait(len(found))
            return found

        monkeypatch.setattr(Queries, "fetch_schedule", noted)

    async def wait(self, times: int) -> list[int]:
        async with asyncio.timeout(PATIENCE_SECONDS):
            return [await self._found.get() for _ in range(times)]


@pytest.fixture
def polls(monkeypatch: pytest.MonkeyPatch) -> Polls:
    return Polls(monkeypatch)


def daily(recorder: Recorder) -> list[Schedule]:
    return [Schedule("prune", DAILY, lambda: recorder.greet(Greet("daily")))]


async def test_a_new_schedule_waits_for_its_time(queue: Queue, recorder: Recorder, polls: Polls) -> None:
    async with running(queue.url, [], daily(recorder)):
        assert await polls.wait(1) == [0]

    assert await queue.fetch(
        "SELECT EXTRACT(hour FROM next_run AT TIME ZONE 'UTC')::integer, next_run > now() FROM jobs.schedules"
    ) == [(4, True)]


async def test_a_due_schedule_runs_in_one_of_two_processes(queue: Queue, recorder: Recorder, polls: Polls) -> None:
    async with running(queue.url, [], daily(recorder)):
        await polls.wait(1)
    await queue.make_due()

    async with running(queue.url, [], daily(recorder)), running(queue.url, [], daily(recorder)):
        assert sorted(await polls.wait(2)) == [0, 1]
        await recorder.wait()

    assert recorder.greeted == ["daily"]
    assert await queue.fetch("SELECT next_run > now(), status::text FROM jobs.schedules") == [(True, "queued")]


async def test_a_schedule_can_be_due_each_second(queue: Queue, recorder: Recorder) -> None:
    async with running(queue.url, [], [Schedule("tick", "* * * * * *", lambda: recorder.greet(Greet("tick")))]):
        await recorder.wait(2)


async def test_a_schedule_that_fails_is_logged_and_runs_again(
    queue: Queue, recorder: Recorder, polls: Polls, caplog: pytest.LogCaptureFixture
) -> None:
    async def fail() -> None:
        await recorder.greet(Greet("daily"))
        raise LookupError

    for _ in range(3):  # the first only makes it known
        async with running(queue.url, [], [Schedule("prune", DAILY, fail)]):
            await polls.wait(1)
        await queue.make_due()

    assert recorder.greeted == ["daily"] * 2
    assert failures(caplog) == [("prune", "LookupError")] * 2


async def test_a_schedule_that_takes_too_long_is_stopped(
    queue: Queue, polls: Polls, caplog: pytest.LogCaptureFixture
) -> None:
    async def wait() -> None:
        await asyncio.Event().wait()

    for _ in range(2):
        async with running(queue.url, [], [Schedule("prune", DAILY, wait, seconds=0.01)], grace_seconds=FOR_EVER):
            await polls.wait(1)
        await queue.make_due()

    assert failures(caplog) == [("prune", "TimeoutError")]


def failures(caplog: pytest.LogCaptureFixture) -> list[tuple[str, str]]:
    lines = [record.msg for record in caplog.records if isinstance(record.msg, dict)]
    return [(line["schedule"], line["reason"]) for line in lines if line["event"] == "schedule failed"]
