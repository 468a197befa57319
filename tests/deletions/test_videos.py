"""Videos are deleted at Mux when nothing names them."""

import asyncio

import pytest
import sqlalchemy as sa
from litestar import Litestar

from factories import School
from mambo.deletions.models import DeletionKind, PendingDeletion
from mambo.devkit.mux import MuxEmulator
from mambo.devkit.mux_webhooks import Faults, RestFault
from mambo.maintenance.schemas import DeleteObject
from mambo.maintenance.service import MaintenanceService
from support.media import Outcome, fetch, make_due, pending_deletions, run_deletions
from support.videos import begin, call_mux, create_video, get_status, put_file, settle, start_upload


async def test_a_replaced_upload_is_cancelled_at_mux(
    school: School, mux: MuxEmulator, maintenance: MaintenanceService
) -> None:
    admin, lesson = await begin(school)
    first, second = await start_upload(admin, lesson), await start_upload(admin, lesson)

    outcome = await run_deletions(school, maintenance)

    assert (outcome, await pending_deletions(school)) == (Outcome(1, []), set())
    assert (await call_mux(mux, f"/uploads/{first['upload_id']}"))["status"] == "cancelled"
    assert (await call_mux(mux, f"/uploads/{second['upload_id']}"))["status"] == "waiting"


async def test_the_asset_of_a_replaced_upload_is_deleted(
    school: School, mux: MuxEmulator, maintenance: MaintenanceService
) -> None:
    """The file was uploaded before the upload could be cancelled."""
    admin, lesson = await begin(school)
    first = await start_upload(admin, lesson)
    await start_upload(admin, lesson)
    await put_file(first["upload_url"])
    await settle(mux)
    asset_id = (await call_mux(mux, f"/uploads/{first['upload_id']}"))["asset_id"]

    await run_deletions(school, maintenance)
    between = await pending_deletions(school)
    await run_deletions(school, maintenance)

    assert (between, await pending_deletions(school)) == ({(DeletionKind.ASSET, asset_id)}, set())
    assert await call_mux(mux, f"/assets/{asset_id}") is None


async def test_the_video_of_a_deleted_lesson_is_deleted(
    school: School, mux: MuxEmulator, maintenance: MaintenanceService
) -> None:
    admin, lesson, asset_id = await create_video(school, mux)
    await admin.delete(f"/api/admin/lessons/{lesson.id}")
    before = await call_mux(mux, f"/assets/{asset_id}")

    await run_deletions(school, maintenance)

    assert before["status"] == "ready"
    assert await call_mux(mux, f"/assets/{asset_id}") is None
    assert await pending_deletions(school) == set()


async def test_a_replaced_video_is_deleted_when_the_new_one_is_ready(
    school: School, mux: MuxEmulator, maintenance: MaintenanceService
) -> None:
    admin, lesson, old = await create_video(school, mux)
    started = await start_upload(admin, lesson)
    await run_deletions(school, maintenance)
    before = await call_mux(mux, f"/assets/{old}")
    await put_file(started["upload_url"])
    await settle(mux)

    await run_deletions(school, maintenance)

    new = (await get_status(admin, lesson))["asset_id"]
    assert before["status"] == "ready"
    assert await call_mux(mux, f"/assets/{old}") is None
    assert (await call_mux(mux, f"/assets/{new}"))["status"] == "ready"


async def test_a_video_that_another_lesson_plays_is_kept(
    school: School, mux: MuxEmulator, maintenance: MaintenanceService
) -> None:
    admin, lesson, asset_id = await create_video(school, mux)
    await school.lesson(await school.level(await school.world()), mux_asset_id=asset_id)
    await admin.delete(f"/api/admin/lessons/{lesson.id}")

    await run_deletions(school, maintenance)

    assert (await call_mux(mux, f"/assets/{asset_id}"))["status"] == "ready"
    assert await pending_deletions(school) == set()


@pytest.mark.parametrize("kind", [DeletionKind.ASSET, DeletionKind.UPLOAD])
@pytest.mark.parametrize("name", ["unknown", "not-an-id"])
async def test_an_object_that_mux_does_not_know_counts_as_deleted(
    school: School, mux: MuxEmulator, maintenance: MaintenanceService, kind: DeletionKind, name: str
) -> None:
    await school.add(PendingDeletion(kind=kind, name=name))

    outcome = await run_deletions(school, maintenance)

    assert (outcome, await pending_deletions(school)) == (Outcome(1, []), set())


@pytest.mark.parametrize("kind", [DeletionKind.ASSET, DeletionKind.UPLOAD])
async def test_a_deletion_that_fails_at_mux_stays_due(
    school: School, mux: MuxEmulator, maintenance: MaintenanceService, kind: DeletionKind
) -> None:
    await school.add(PendingDeletion(kind=kind, name="unknown"))
    mux.faults = Faults(rest=RestFault(kind="rate_limited", count=None, seconds=30))

    failing = await run_deletions(school, maintenance)
    before = await pending_deletions(school)
    mux.faults = Faults()
    working = await run_deletions(school, maintenance)

    assert failing == Outcome(0, ["Mux is busy. Try again in a moment."])
    assert (before, working) == ({(kind, "unknown")}, Outcome(1, []))
    assert await pending_deletions(school) == set()


async def test_concurrent_workers_delete_each_object_once(
    school: School, mux: MuxEmulator, maintenance: MaintenanceService
) -> None:
    await school.add(*(PendingDeletion(kind=DeletionKind.ASSET, name=f"asset{number}") for number in range(12)))

    outcomes = await asyncio.gather(*(run_deletions(school, maintenance) for _ in range(4)))

    paths = [request.path for request in mux.requests]
    assert sum(outcome.done for outcome in outcomes) == len(paths) == len(set(paths)) == 12


async def test_an_object_is_queued_once_and_again_after_twelve_hours(
    school: School, mux: MuxEmulator, maintenance: MaintenanceService
) -> None:
    """The second time is for a job that was lost."""
    await school.add(PendingDeletion(kind=DeletionKind.ASSET, name="unknown"))
    queued = []

    for hours in (0, 11, 13):
        age = sa.func.make_interval(0, 0, 0, 0, hours)
        async with school.sessions.begin() as session:
            await session.execute(sa.update(PendingDeletion).values(queued_at=PendingDeletion.queued_at - age))
            await session.execute(sa.text("DELETE FROM jobs.queue"))
        await maintenance.queue_deletions()
        queued.append(await fetch(school, "SELECT count(*) FROM jobs.queue"))

    assert queued == [1, 0, 1]


async def test_an_object_that_is_due_again_is_in_the_queue_once(
    school: School, mux: MuxEmulator, maintenance: MaintenanceService
) -> None:
    await school.add(PendingDeletion(kind=DeletionKind.ASSET, name="unknown"))

    for _ in range(2):
        await make_due(school, "unknown")
        await maintenance.queue_deletions()

    assert await fetch(school, "SELECT count(*) FROM jobs.queue") == 1


async def test_without_mux_and_storage_deletions_stay_pending(
    school: School, app: Litestar, maintenance: MaintenanceService
) -> None:
    for kind in DeletionKind:
        await school.add(PendingDeletion(kind=kind, name="x"))
    unconfigured = MaintenanceService(app.state.resources.transactions, None, None, app.state.resources.clock)

    outcome = await run_deletions(school, unconfigured)
    for kind in DeletionKind:
        await unconfigured.delete_object(DeleteObject(kind, "x"))

    assert outcome == Outcome(0, [])
    assert await unconfigured.get_deletions() == []
    assert await pending_deletions(school) == {(kind, "x") for kind in DeletionKind}
