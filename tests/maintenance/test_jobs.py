"""The background work in a worker: schedules queue jobs, and jobs are retried."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from conftest import START, TurnableClock
from factories import School
from mambo.deletions.models import DeletionKind, PendingDeletion
from mambo.devkit.mux import MuxEmulator
from mambo.devkit.mux_webhooks import Faults, RestFault
from mambo.jobs import running
from mambo.maintenance.jobs import CHECK_RETRIES, DELETE_RETRIES, handlers_of, schedules_of
from mambo.maintenance.service import MaintenanceService
from mambo.settings import Settings
from mambo.videos.models import WebhookEvent
from support.media import ImageClient, fetch, make_due, pending_deletions
from support.videos import create_lost_video, get_uploads

PATIENCE_SECONDS = 30


@asynccontextmanager
async def worker(settings: Settings, maintenance: MaintenanceService) -> AsyncIterator[None]:
    """Run the background work as the app does, and notice due jobs and schedules soon."""
    jobs = running(settings.database_url, handlers_of(maintenance), schedules_of(maintenance), poll_seconds=0.05)
    async with jobs:
        yield


async def make_schedules_due(school: School) -> None:
    await execute(school, "UPDATE jobs.schedules SET next_run = now() - interval '1 second'")


async def execute(school: School, statement: str) -> None:
    async with school.sessions.begin() as session:
        await session.execute(sa.text(statement))


async def until_equal(school: School, query: str, value: Any) -> None:
    """Repeat a query until it returns the value."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while await fetch(school, query) != value:
            pass


async def test_schedules_check_uploads_delete_objects_and_remove_old_rows(
    school: School,
    mux: MuxEmulator,
    images: ImageClient,
    maintenance: MaintenanceService,
    settings: Settings,
    clock: TurnableClock,
) -> None:
    admin, _ = await create_lost_video(school, mux)
    url = await images.upload(admin)
    await make_due(school, url)
    received_at = START - timedelta(days=31)
    await school.add(WebhookEvent(id="old", type="x", is_applied=True, body=b"", received_at=received_at))
    clock.turn(timedelta(minutes=3))

    async with worker(settings, maintenance):
        await until_equal(school, "SELECT count(*) FROM jobs.schedules", 3)
    await make_schedules_due(school)
    async with worker(settings, maintenance):
        await until_equal(school, "SELECT status FROM video_upload", "ready")
        await until_equal(school, "SELECT count(*) FROM mux_event WHERE id = 'old'", 0)
        await until_equal(school, "SELECT count(*) FROM pending_deletion WHERE locked_until > now()", 1)
        await until_equal(school, "SELECT count(*) FROM jobs.queue", 0)

    assert await images.exists(url) == [False]
    assert await pending_deletions(school) == {(DeletionKind.IMAGE, url)}


async def test_two_workers_delete_each_object_once(
    school: School, mux: MuxEmulator, maintenance: MaintenanceService, settings: Settings
) -> None:
    await school.add(*(PendingDeletion(kind=DeletionKind.ASSET, name=f"asset{number}") for number in range(12)))
    await maintenance.queue_deletions()

    async with worker(settings, maintenance), worker(settings, maintenance):
        await until_equal(school, "SELECT count(*) FROM jobs.queue", 0)

    paths = [request.path for request in mux.requests]
    assert (len(paths), len(set(paths))) == (12, 12)
    assert await pending_deletions(school) == set()


async def test_a_failed_deletion_is_retried_later(
    school: School, mux: MuxEmulator, maintenance: MaintenanceService, settings: Settings
) -> None:
    await school.add(PendingDeletion(kind=DeletionKind.ASSET, name="unknown"))
    mux.faults = Faults(rest=RestFault(kind="rate_limited", count=None, seconds=30))
    await maintenance.queue_deletions()
    delay = "SELECT EXTRACT(epoch FROM execute_after - updated)::integer FROM jobs.queue"

    async with worker(settings, maintenance):
        await until_equal(school, "SELECT attempts FROM jobs.queue", 1)
        first_delay, pending = await fetch(school, delay), await pending_deletions(school)
        mux.faults = Faults()
        await execute(school, "UPDATE jobs.queue SET execute_after = now()")
        await until_equal(school, "SELECT count(*) FROM jobs.queue", 0)

    assert (first_delay, pending) == (30, {(DeletionKind.ASSET, "unknown")})
    assert await pending_deletions(school) == set()


@pytest.mark.parametrize(
    ("retries", "delays"),
    [
        (DELETE_RETRIES, {1: "0:00:30", 2: "0:01:00", 3: "0:02:00", 10: "4:16:00", 11: "6:00:00", 1000: "6:00:00"}),
        (CHECK_RETRIES, {1: "0:00:30", 2: "0:01:00", 3: "0:02:00", 5: "0:05:00", 1000: "0:05:00"}),
    ],
    ids=["deletions", "checks"],
)
def test_jobs_are_retried_with_growing_delay_and_without_end(retries: Any, delays: dict[int, str]) -> None:
    assert {failures: str(retries.delay(failures)) for failures in delays} == delays


async def test_a_deletion_whose_worker_died_is_due_again_when_its_lock_ends(
    school: School, mux: MuxEmulator, maintenance: MaintenanceService
) -> None:
    await school.add(PendingDeletion(kind=DeletionKind.ASSET, name="unknown"))
    mux.faults = Faults(rest=RestFault(kind="slow", count=None, seconds=30))
    [deletion] = await maintenance.get_deletions()
    running_job = asyncio.create_task(maintenance.delete_object(deletion))
    await until_equal(school, "SELECT locked_until > now() FROM pending_deletion", True)
    running_job.cancel()
    await asyncio.wait([running_job])
    mux.faults = Faults()

    await maintenance.delete_object(deletion)
    while_locked = await pending_deletions(school)
    await make_due(school, "unknown")
    await maintenance.delete_object(deletion)

    assert while_locked == {(DeletionKind.ASSET, "unknown")}
    assert await pending_deletions(school) == set()
    assert await get_uploads(school) == []
