"""What `mambo media reconcile` finds at Mux and in the storage, and the removal of old rows."""

from datetime import UTC, datetime, timedelta

import sqlalchemy as sa
from litestar import Litestar

from conftest import START, TurnableClock
from factories import School
from mambo.deletions.models import DeletionKind, PendingDeletion
from mambo.devkit.mux import MuxEmulator
from mambo.devkit.mux_webhooks import Faults, RestFault
from mambo.maintenance.schemas import DeleteObject
from mambo.maintenance.service import MaintenanceService
from mambo.videos.models import WebhookEvent
from support.media import ImageClient, make_due, run_deletions
from support.videos import call_mux, create_lost_video, create_video, put_file, settle


async def test_all_unfinished_uploads_and_due_deletions_are_returned(
    school: School, mux: MuxEmulator, maintenance: MaintenanceService, images: ImageClient
) -> None:
    """Also queued and failed ones; not those that are not due, or that a row names."""
    admin, _ = await create_lost_video(school, mux)
    used, unused = await images.upload(admin), await images.upload(admin)
    await school.world(thumbnail_url=used)
    await school.add(PendingDeletion(kind=DeletionKind.ASSET, name="unknown"))
    mux.faults = Faults(rest=RestFault(kind="rate_limited", count=None, seconds=30))
    await maintenance.queue_deletions()
    [failure] = (await run_deletions(school, maintenance)).failures
    await make_due(school, used)

    checks, deletions = await maintenance.get_checks(), await maintenance.get_deletions()

    assert failure == "Mux is busy. Try again in a moment."
    assert len(checks) == 1
    assert deletions == [DeleteObject(DeletionKind.ASSET, "unknown")]
    assert await images.exists(used, unused) == [True, True]


async def test_events_older_than_thirty_days_are_removed(school: School, maintenance: MaintenanceService) -> None:
    ages = {"old": timedelta(days=30, seconds=1), "just": timedelta(days=30), "young": timedelta(days=29)}
    for name, age in ages.items():
        await school.add(WebhookEvent(id=name, type="x", is_applied=False, body=b"", received_at=START - age))

    removed = await maintenance.remove_old_events()

    async with school.sessions() as session:
        kept = set(await session.scalars(sa.select(WebhookEvent.id)))
    assert (removed, kept) == (1, {"just", "young"})


async def test_assets_without_a_row_and_lessons_without_their_asset_are_found(
    school: School, mux: MuxEmulator, maintenance: MaintenanceService
) -> None:
    _, _, ours = await create_video(school, mux)
    admin, lesson, pending = await create_video(school, mux)
    await admin.delete(f"/api/admin/lessons/{lesson.id}")
    upload = await call_mux(mux, "/uploads", "POST", {"new_asset_settings": {"playback_policies": ["public"]}})
    await put_file(upload["url"])
    await settle(mux)
    stray = (await call_mux(mux, f"/uploads/{upload['id']}"))["asset_id"]
    await school.lesson(await school.level(await school.world()), title="Cross body lead", mux_asset_id="lost")

    orphans, missing = await maintenance.compare_assets()

    assert stray in orphans
    assert not {ours, pending} & set(orphans)
    assert missing == ["Cross body lead (lost)"]


async def test_images_without_a_row_are_found_after_a_day(
    school: School, images: ImageClient, maintenance: MaintenanceService, clock: TurnableClock
) -> None:
    """Not those whose deletion is scheduled."""
    admin = await school.admin()
    stray, shown, described, scheduled = [await images.upload(admin) for _ in range(4)]
    await school.world(thumbnail_url=shown, description=f"See {described}.")
    async with school.sessions.begin() as session:
        await session.execute(sa.delete(PendingDeletion).where(PendingDeletion.name != scheduled))
    clock.now = datetime.now(UTC)

    on_the_same_day = await maintenance.find_orphaned_images()
    clock.turn(timedelta(hours=25))
    later = await maintenance.find_orphaned_images()

    assert {stray, shown, described, scheduled} & set(on_the_same_day) == set()
    assert {stray, shown, described, scheduled} & set(later) == {stray}
    assert await images.exists(stray) == [True]


async def test_without_mux_and_storage_nothing_is_compared(app: Litestar) -> None:
    unconfigured = MaintenanceService(app.state.resources.transactions, None, None, app.state.resources.clock)

    assert (await unconfigured.compare_assets(), await unconfigured.find_orphaned_images()) == (([], []), [])
