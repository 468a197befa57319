"""Jobs run, are tried again, and survive the end of the process that runs them."""

import asyncio
import signal
import sys
from contextlib import AsyncExitStack
from datetime import timedelta

import asyncpg
import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession

from jobs.conftest import FOR_EVER, PATIENCE_SECONDS, FailingRecorder, Greet, Queue, Recorder
from mambo.errors import Unavailable
from mambo.jobs import Handler, Retries, Schedule, get_failed, prune_log, retry_failed, running, worker

CONNECTIONS = "FROM pg_stat_activity WHERE application_name = 'mambo jobs'"
AT_REST = "AND state = 'idle' AND state_change < now() - interval '1 second'"
DELAYS = "SELECT EXTRACT(epoch FROM execute_after - updated)::integer FROM jobs.queue"


class Blocker(Recorder):
    """A handler that waits for a signal once it has started."""

    def __init__(self) -> None:
        super().__init__()
        self.release = asyncio.Event()
        self.finished: list[str] = []

    async def greet(self, job: Greet) -> None:
        await super().greet(job)
        await self.release.wait()
        self.finished.append(job.name)


@pytest.fixture
def blocker() -> Blocker:
    return Blocker()


@pytest.fixture
def connections(monkeypatch: pytest.MonkeyPatch) -> asyncio.Queue[None]:
    """Has an item for each connection that a worker begins to make."""
    begun: asyncio.Queue[None] = asyncio.Queue()
    connect = asyncpg.connect

    async def connect_noted(**options: object) -> object:
        if "server_settings" in options:  # SQLAlchemy has none
            begun.put_nowait(None)
        return await connect(**options)

    monkeypatch.setattr(asyncpg, "connect", connect_noted)
    return begun


def logged(caplog: pytest.LogCaptureFixture, event: str) -> list[dict[str, object]]:
    lines = [record.msg for record in caplog.records if record.name.startswith("mambo.jobs")]
    return [line for line in lines if isinstance(line, dict) and line["event"] == event]


# Running


async def test_two_workers_run_each_job_once(queue: Queue, recorder: Recorder) -> None:
    names = [f"learner {number}" for number in range(30)]
    handlers = [recorder.handler()]

    async with running(queue.url, handlers), running(queue.url, handlers):
        for name in names:
            await queue.add(name)
        await recorder.wait(30)

    assert sorted(recorder.greeted) == sorted(names)
    assert await queue.statuses() == []


async def test_a_process_runs_four_jobs_at_a_time(queue: Queue, blocker: Blocker) -> None:
    await queue.add(*"abcdef")

    async with running(queue.url, [blocker.handler()], poll_seconds=0.1):
        await blocker.wait(4)
        assert sorted(await queue.statuses()) == ["picked"] * 4 + ["queued"] * 2
        blocker.release.set()
        await blocker.wait(2)

    assert sorted(blocker.finished) == list("abcdef")


# Failing


async def test_a_failing_job_is_tried_again_ever_later(
    queue: Queue, failing: FailingRecorder, retries: Retries
) -> None:
    await queue.add("ana")
    delays = []
    for _ in range(3):
        async with running(queue.url, [failing.handler(retries=retries)]):
            await failing.wait()
        delays += await queue.fetch(DELAYS)
        await queue.make_due()

    assert delays == [(30,), (60,), (100,)]
    assert failing.greeted == ["ana"] * 3


async def test_a_failed_job_waits_for_its_next_attempt(queue: Queue, recorder: Recorder) -> None:
    async def greet(job: Greet) -> None:
        await recorder.greet(job)
        if job.name == "ana":
            raise LookupError

    async with running(queue.url, [Handler(Greet, greet)], poll_seconds=0.1):
        await queue.add("ana")
        await recorder.wait()
        await queue.add("ben")
        await recorder.wait()

    assert recorder.greeted == ["ana", "ben"]
    assert await queue.statuses() == ["queued"]


async def test_a_job_that_used_up_its_attempts_is_kept_and_logged(
    queue: Queue, session: AsyncSession, failing: FailingRecorder, caplog: pytest.LogCaptureFixture
) -> None:
    await queue.add("ana")
    for _ in range(2):
        async with running(queue.url, [failing.handler(retries=Retries(attempts=2))]):
            await failing.wait()
        await queue.make_due()

    [failed] = await get_failed(session)
    assert (failed.name, failed.attempts, failed.error) == ("Greet", 2, "LookupError")
    [line] = logged(caplog, "job failed")
    assert line.items() >= {"job": "Greet", "job_id": failed.id, "attempt": 2, "reason": "LookupError"}.items()
    [line] = logged(caplog, "job retried")
    assert line.items() >= {"job": "Greet", "attempt": 1, "seconds": 30.0}.items()


async def test_a_failed_job_can_be_retried_with_all_its_attempts(
    queue: Queue, session: AsyncSession, failing: FailingRecorder, recorder: Recorder
) -> None:
    await queue.add("ana")
    async with running(queue.url, [failing.handler(retries=Retries(attempts=1))]):
        await failing.wait()

    [failed] = await get_failed(session)
    await retry_failed(session, [failed.id])
    await session.commit()

    assert await queue.fetch("SELECT status::text, attempts FROM jobs.queue") == [("queued", 0)]
    async with running(queue.url, [recorder.handler()]):
        await recorder.wait()
    assert await queue.statuses() == []


async def test_the_log_has_the_sentence_of_an_error_of_ours(queue: Queue, caplog: pytest.LogCaptureFixture) -> None:
    recorder = Recorder()

    async def greet(job: Greet) -> None:
        await recorder.greet(job)
        raise Unavailable("The mail server does not respond.")

    await queue.add("ana")
    async with running(queue.url, [Handler(Greet, greet)]):
        await recorder.wait()

    [line] = logged(caplog, "job retried")
    assert line["reason"] == "The mail server does not respond."
    assert "exc_info" not in line


async def test_a_payload_that_cannot_be_read_fails(queue: Queue, session: AsyncSession, recorder: Recorder) -> None:
    await queue.add("ana")
    await queue.execute("UPDATE jobs.queue SET payload = '{}'")
    await queue.add("ben")

    async with running(queue.url, [recorder.handler(retries=Retries(attempts=1))]):
        await recorder.wait()

    assert [failed.error for failed in await get_failed(session)] == ["ValidationError"]
    assert recorder.greeted == ["ben"]


async def test_a_job_that_takes_too_long_is_tried_again(queue: Queue, recorder: Recorder) -> None:
    async def greet(job: Greet) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await recorder.greet(job)

    await queue.add("ana")
    async with running(queue.url, [Handler(Greet, greet, seconds=0.01)]):
        await recorder.wait()

    assert await queue.fetch(DELAYS) == [(30,)]


# Ending


async def test_the_end_waits_for_a_running_job(queue: Queue, blocker: Blocker) -> None:
    await queue.add("ana")
    stack = AsyncExitStack()
    await stack.enter_async_context(running(queue.url, [blocker.handler()], grace_seconds=PATIENCE_SECONDS))
    await blocker.wait()

    end = asyncio.create_task(stack.aclose())
    await asyncio.wait([end], timeout=0)
    blocker.release.set()
    await end

    assert blocker.finished == ["ana"]
    assert await queue.statuses() == []


async def test_a_job_that_does_not_end_in_time_goes_back_into_the_queue(
    queue: Queue, blocker: Blocker, recorder: Recorder
) -> None:
    await queue.add("ana")
    retries = Retries(first=timedelta(hours=1))  # which is for failures
    async with running(queue.url, [blocker.handler(retries=retries)], grace_seconds=0):
        await blocker.wait()
    assert blocker.finished == []

    async with running(queue.url, [recorder.handler()]):
        await recorder.wait()
    assert recorder.greeted == ["ana"]


async def test_the_end_waits_for_a_job_that_has_just_run_out_of_time(queue: Queue, recorder: Recorder) -> None:
    release, finished = asyncio.Event(), []

    async def greet(job: Greet) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await recorder.greet(job)
            await release.wait()
            finished.append(job.name)

    await queue.add("ana")
    stack = AsyncExitStack()
    await stack.enter_async_context(running(queue.url, [Handler(Greet, greet, seconds=0.01)]))
    await recorder.wait()
    end = asyncio.create_task(stack.aclose())
    await asyncio.wait([end], timeout=0)
    release.set()
    await end

    assert finished == ["ana"]
    assert await queue.statuses() == ["queued"]


async def test_a_cancelled_job_goes_back_into_the_queue(queue: Queue, recorder: Recorder) -> None:
    """PgQueuer counts a job that was cancelled as done."""

    async def greet(job: Greet) -> None:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        await recorder.greet(job)
        await asyncio.Event().wait()

    await queue.add("ana")
    async with running(queue.url, [Handler(Greet, greet)]):
        await recorder.wait()

    assert await queue.statuses() == ["queued"]


PROCESS = """
import asyncio, sys
from mambo.jobs import Handler, Job, running

class Greet(Job):
    name: str

async def greet(job):
    print(job.name, flush=True)
    await asyncio.Event().wait()

async def main():
    async with running(sys.argv[1], [Handler(Greet, greet)]):
        await asyncio.Event().wait()

asyncio.run(main())
"""


async def test_the_job_of_a_killed_process_is_run_by_another(queue: Queue, recorder: Recorder) -> None:
    await queue.add("ana")
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", PROCESS, queue.url, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    async with asyncio.timeout(PATIENCE_SECONDS):
        assert await process.stdout.readline() == b"ana\n"
    process.send_signal(signal.SIGKILL)
    await process.wait()

    await queue.add("ben")
    async with running(queue.url, [recorder.handler()]):
        await recorder.wait()
    assert recorder.greeted == ["ben"]  # the process may still be there

    await queue.make_stale()
    async with running(queue.url, [recorder.handler()]):
        await recorder.wait()
    assert recorder.greeted == ["ben", "ana"]


async def test_a_worker_whose_connection_is_lost_makes_another(
    queue: Queue, recorder: Recorder, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "RECONNECT_SECONDS", 0)
    schedules = [Schedule("yearly", "0 0 1 1 *", asyncio.Event().wait)]  # without any, PgQueuer polls each second
    await queue.add("ana")
    async with running(queue.url, [recorder.handler()], schedules, poll_seconds=FOR_EVER):
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not await queue.fetch(f"SELECT pid {CONNECTIONS} {AT_REST}"):
                pass
        assert await queue.fetch(f"SELECT pg_terminate_backend(pid) {CONNECTIONS}") == [(True,)]
        await queue.add("ben")
        await recorder.wait(2)

    assert recorder.greeted == ["ana", "ben"]
    assert logged(caplog, "jobs interrupted")
    async with asyncio.timeout(PATIENCE_SECONDS):
        while await queue.fetch(f"SELECT pid {CONNECTIONS}"):
            pass  # PostgreSQL ends it after the client


async def test_without_a_database_the_end_is_not_delayed(recorder: Recorder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "RECONNECT_SECONDS", FOR_EVER)
    asked = asyncio.Event()

    async def hang_up(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()
        asked.set()

    async with await asyncio.start_server(hang_up, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        async with running(f"postgresql+asyncpg://nobody@127.0.0.1:{port}/nothing", [recorder.handler()]):
            await asked.wait()


async def test_the_end_comes_while_a_connection_is_made(
    queue: Queue, recorder: Recorder, connections: asyncio.Queue[None]
) -> None:
    async with running(queue.url, [recorder.handler()]):
        await connections.get()


async def test_a_database_that_does_not_answer_in_time_is_asked_again(
    queue: Queue,
    session: AsyncSession,
    recorder: Recorder,
    connections: asyncio.Queue[None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(worker, "COMMAND_SECONDS", 0.5)
    monkeypatch.setattr(worker, "RECONNECT_SECONDS", 0)
    await queue.add("ana")
    await session.execute(sa.text("LOCK jobs.queue"))

    async with running(queue.url, [recorder.handler()]):
        for _ in range(2):
            await connections.get()
        await session.rollback()
        await recorder.wait()

    assert recorder.greeted == ["ana"]


# The log


async def test_the_log_is_pruned(queue: Queue, session: AsyncSession, recorder: Recorder) -> None:
    await queue.add("ana")
    async with running(queue.url, [recorder.handler()]):
        await recorder.wait()
    await queue.execute("UPDATE jobs.log SET created = now() - interval '31 days' WHERE status <> 'successful'")

    await prune_log(session, kept=timedelta(days=30))
    await session.commit()

    assert await queue.fetch("SELECT status::text FROM jobs.log") == [("successful",)]
