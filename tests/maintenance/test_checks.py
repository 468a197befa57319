"""Mux is asked about uploads whose events were lost."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest
from litestar import Litestar

from conftest import START, TurnableClock
from factories import School
from mambo.adapters.video import MuxVideo
from mambo.devkit.mux import MuxEmulator
from mambo.devkit.mux_webhooks import Faults, RestFault
from mambo.maintenance.service import MaintenanceService
from mambo.videos.models import VideoUpload
from mambo.videos.rules import VideoStatus
from support.media import TOKEN, Outcome, fetch, run_checks
from support.videos import begin, create_lost_video, create_video, get_status, get_uploads, settle, start_upload

FAILURES = {
    "rate_limited": "Mux is busy. Try again in a moment.",
    "server_error": "Mux returned something unusable. Try again in a moment.",
    "slow": "Mux did not respond in time. Try again in a moment.",
}


@pytest.fixture
async def impatient(app: Litestar, emulator: MuxEmulator) -> AsyncIterator[MaintenanceService]:
    """The background work with a client of Mux that has a short deadline."""
    resources = app.state.resources
    host = MuxVideo(token_id=TOKEN[0], token_secret=TOKEN[1], api_url=emulator.url, deadline_seconds=0.3)
    yield MaintenanceService(resources.transactions, host, None, resources.clock)
    host.close()


async def get_statuses(school: School) -> list[VideoStatus]:
    return [upload.status for upload in await get_uploads(school)]


async def test_a_video_whose_events_were_lost_becomes_ready(
    school: School, mux: MuxEmulator, maintenance: MaintenanceService, clock: TurnableClock
) -> None:
    admin, lesson = await create_lost_video(school, mux)
    clock.turn(timedelta(minutes=2))

    outcome = await run_checks(school, maintenance)

    shown = (await admin.get(f"/api/admin/lessons/{lesson.id}")).json()
    assert outcome == Outcome(1, [])
    assert shown["mux_playback_id"]
    assert shown["duration_seconds"] == pytest.approx(23.857167)


async def test_mux_is_not_asked_until_nothing_was_heard_for_two_minutes(
    school: School, mux: MuxEmulator, maintenance: MaintenanceService, clock: TurnableClock
) -> None:
    await create_lost_video(school, mux)
    clock.turn(timedelta(minutes=2) - timedelta(seconds=1))

    outcome = await run_checks(school, maintenance)

    assert (outcome.done, mux.requests) == (0, [])


async def test_concurrent_workers_ask_about_each_upload_once(
    school: School, mux: MuxEmulator, maintenance: MaintenanceService, clock: TurnableClock
) -> None:
    for _ in range(5):
        await start_upload(*await begin(school))
    await settle(mux)
    mux.requests.clear()
    clock.turn(timedelta(minutes=2))
    await asyncio.gather(*(maintenance.queue_checks() for _ in range(4)))

    outcome = await run_checks(school, maintenance)

    paths = [request.path for request in mux.requests]
    assert (outcome.done, len(paths), len(set(paths))) == (5, 5, 5)


async def test_mux_is_not_asked_about_a_ready_video(
    school: School, mux: MuxEmulator, maintenance: MaintenanceService, clock: TurnableClock
) -> None:
    await create_video(school, mux)
    mux.requests.clear()
    clock.turn(timedelta(days=1))

    outcome = await run_checks(school, maintenance)

    assert (outcome.done, mux.requests) == (0, [])


async def test_mux_is_not_asked_about_a_video_that_became_ready_while_its_job_waited(
    school: School, mux: MuxEmulator, maintenance: MaintenanceService, clock: TurnableClock
) -> None:
    await create_lost_video(school, mux)
    clock.turn(timedelta(minutes=2))
    [check] = await maintenance.get_checks()
    await maintenance.check_upload(check)
    mux.requests.clear()

    await maintenance.check_upload(check)

    assert mux.requests == []


async def test_an_upload_without_a_file_times_out_after_an_hour(
    school: School, mux: MuxEmulator, maintenance: MaintenanceService, clock: TurnableClock
) -> None:
    """Mux is not asked about it again, and the lesson can have another upload."""
    admin, lesson = await begin(school)
    await start_upload(admin, lesson)
    clock.turn(timedelta(minutes=59))
    await run_checks(school, maintenance)
    before = await get_status(admin, lesson)
    clock.turn(timedelta(minutes=5))

    await run_checks(school, maintenance)
    after = (await get_statuses(school), (await get_status(admin, lesson))["status"])
    clock.turn(timedelta(days=1))
    later = await run_checks(school, maintenance)
    again = await start_upload(admin, lesson)

    assert (before["status"], after) == ("waiting", ([VideoStatus.TIMED_OUT], "none"))
    assert (later.done, again["status"]) == (0, "waiting")


async def test_an_upload_that_mux_does_not_know_times_out(
    school: School, mux: MuxEmulator, maintenance: MaintenanceService, clock: TurnableClock
) -> None:
    _, lesson = await begin(school)
    times = {"updated_at": START, "expires_at": START + timedelta(hours=1)}
    await school.add(VideoUpload(lesson_id=lesson.id, mux_upload_id="forgotten", **times))
    clock.turn(timedelta(minutes=2))
    await run_checks(school, maintenance)
    before = await get_statuses(school)
    clock.turn(timedelta(hours=2))

    await run_checks(school, maintenance)

    assert (before, await get_statuses(school)) == ([VideoStatus.WAITING], [VideoStatus.TIMED_OUT])


@pytest.mark.parametrize("kind", FAILURES)
async def test_while_mux_fails_an_upload_does_not_change_and_its_check_fails(
    school: School, mux: MuxEmulator, impatient: MaintenanceService, clock: TurnableClock, kind: Any
) -> None:
    await create_lost_video(school, mux)
    clock.turn(timedelta(minutes=3))
    mux.faults = Faults(rest=RestFault(kind=kind, count=None, seconds=30))

    failing = await run_checks(school, impatient)
    before = await get_statuses(school)
    mux.faults = Faults()
    working = await run_checks(school, impatient)

    assert (failing, working) == (Outcome(0, [FAILURES[kind]]), Outcome(1, []))
    assert (before, await get_statuses(school)) == ([VideoStatus.WAITING], [VideoStatus.READY])


async def test_one_failed_check_does_not_stop_the_others(
    school: School, mux: MuxEmulator, impatient: MaintenanceService, clock: TurnableClock
) -> None:
    await create_lost_video(school, mux)
    await create_lost_video(school, mux)
    clock.turn(timedelta(minutes=3))
    mux.faults = Faults(rest=RestFault(kind="rate_limited", count=1, seconds=30))

    outcome = await run_checks(school, impatient)

    assert outcome == Outcome(1, [FAILURES["rate_limited"]])
    assert sorted(await get_statuses(school)) == [VideoStatus.READY, VideoStatus.WAITING]


async def test_without_mux_no_upload_is_checked(school: School, app: Litestar, clock: TurnableClock) -> None:
    _, lesson = await begin(school)
    await school.add(VideoUpload(lesson_id=lesson.id, mux_upload_id="up", updated_at=START, expires_at=START))
    unconfigured = MaintenanceService(app.state.resources.transactions, None, None, app.state.resources.clock)
    clock.turn(timedelta(hours=1))

    await unconfigured.queue_checks()

    assert await unconfigured.get_checks() == []
    assert await fetch(school, "SELECT count(*) FROM jobs.queue") == 0
