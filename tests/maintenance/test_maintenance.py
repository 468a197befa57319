"""What got lost is found: by asking Mux, by deleting what nothing names, and by comparing."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
import sqlalchemy as sa
from litestar import Litestar

from conftest import START, TurnableClock
from factories import Caller, School
from images.test_images import Gallery, due
from images.test_images import gallery as gallery
from images.test_images import upkeep as upkeep
from mambo.adapters.video import MuxVideo
from mambo.courses.models import Lesson
from mambo.deletions.models import DeletionKind, PendingDeletion
from mambo.devkit.mux import MuxEmulator
from mambo.devkit.mux_webhooks import Faults, RestFault
from mambo.maintenance.service import MaintenanceService, running
from mambo.videos.models import VideoStatus, VideoUpload, WebhookEvent
from support.media import TOKEN
from videos.test_uploads import begin, put_file, settle, status_of, upload_of, video_of
from videos.test_webhook import pending


@pytest.fixture
async def impatient(app: Litestar, emulator: MuxEmulator) -> AsyncIterator[MaintenanceService]:
    """The upkeep with a Mux of its own, on which it soon gives up."""
    state = app.state
    host = MuxVideo(token_id=TOKEN[0], token_secret=TOKEN[1], api_url=emulator.url, deadline_seconds=0.3)
    yield MaintenanceService(state.resources.transactions, host, None, state.resources.clock)
    host.close()


async def unheard_video_of(school: School, mux: MuxEmulator) -> tuple[Caller, Lesson]:
    """A lesson whose video is ready at Mux, of which no event came."""
    admin, lesson = await begin(school)
    mux.faults = Faults(lose_webhooks=None)
    await put_file((await upload_of(admin, lesson))["upload_url"])
    await settle(mux)
    mux.faults = Faults()
    mux.requests.clear()
    return admin, lesson


async def at_mux(mux: MuxEmulator, path: str, method: str = "GET", json: Any = None) -> Any:
    """What Mux answers when it is asked behind our back; None where it does not know the id."""
    async with httpx.AsyncClient(base_url=f"{mux.url}/video/v1", auth=TOKEN) as client:
        response = await client.request(method, path, json=json)
        return None if response.status_code == 404 else response.json()["data"]


# Events that never came


async def test_a_video_whose_events_were_all_lost_becomes_ready(
    school: School, mux: MuxEmulator, upkeep: MaintenanceService, clock: TurnableClock
) -> None:
    admin, lesson = await unheard_video_of(school, mux)
    clock.turn(timedelta(minutes=2))

    tally = await upkeep.ask_mux()

    shown = (await admin.get(f"/api/admin/lessons/{lesson.id}")).json()
    assert (tally.done, tally.failed) == (1, [])
    assert shown["mux_playback_id"]
    assert shown["duration_seconds"] == pytest.approx(23.857167)


async def test_mux_is_not_asked_before_its_events_had_two_minutes(
    school: School, mux: MuxEmulator, upkeep: MaintenanceService, clock: TurnableClock
) -> None:
    await unheard_video_of(school, mux)
    clock.turn(timedelta(minutes=2) - timedelta(seconds=1))

    tally = await upkeep.ask_mux()

    assert (tally.total, mux.requests) == (0, [])


async def test_four_workers_ask_once_in_five_minutes_about_each_video(
    school: School, mux: MuxEmulator, upkeep: MaintenanceService, clock: TurnableClock
) -> None:
    for _ in range(5):
        await upload_of(*await begin(school))
    await settle(mux)  # an event that is being received holds its upload, which is then passed over
    seen = []

    for minutes in (2, 4, 1):
        clock.turn(timedelta(minutes=minutes))
        mux.requests.clear()
        tallies = await asyncio.gather(*(upkeep.ask_mux() for _ in range(4)))
        paths = [request.path for request in mux.requests]
        seen.append((sum(tally.done for tally in tallies), len(paths), len(set(paths))))

    assert seen == [(5, 5, 5), (0, 0, 0), (5, 5, 5)]


async def test_nothing_is_asked_about_a_video_that_is_ready(
    school: School, mux: MuxEmulator, upkeep: MaintenanceService, clock: TurnableClock
) -> None:
    await video_of(school, mux)
    mux.requests.clear()
    clock.turn(timedelta(days=1))

    tally = await upkeep.ask_mux()

    assert (tally.total, mux.requests) == (0, [])


async def test_an_upload_that_nobody_sent_times_out(
    school: School, mux: MuxEmulator, upkeep: MaintenanceService, clock: TurnableClock
) -> None:
    """After an hour; it is not asked about again, and the lesson may have another."""
    admin, lesson = await begin(school)
    await upload_of(admin, lesson)
    clock.turn(timedelta(minutes=59))
    await upkeep.ask_mux()
    before = await status_of(admin, lesson)
    clock.turn(timedelta(minutes=5))

    await upkeep.ask_mux()
    after = (await statuses(school), (await status_of(admin, lesson))["status"])
    clock.turn(timedelta(days=1))
    later = await upkeep.ask_mux()
    again = await upload_of(admin, lesson)

    assert (before["status"], after) == ("waiting", ([VideoStatus.TIMED_OUT], "none"))
    assert (later.total, again["status"]) == (0, "waiting")


async def statuses(school: School) -> list[VideoStatus]:
    async with school.sessions() as session:
        return list(await session.scalars(sa.select(VideoUpload.status).order_by(VideoUpload.id)))


async def test_an_upload_that_mux_has_forgotten_times_out(
    school: School, mux: MuxEmulator, upkeep: MaintenanceService, clock: TurnableClock
) -> None:
    _, lesson = await begin(school)
    late = {"updated_at": START, "expires_at": START + timedelta(hours=1), "ask_at": START}
    await school.add(VideoUpload(lesson_id=lesson.id, mux_upload_id="forgotten", **late))
    await upkeep.ask_mux()
    before = await statuses(school)
    clock.turn(timedelta(hours=2))

    await upkeep.ask_mux()

    assert (before, await statuses(school)) == ([VideoStatus.WAITING], [VideoStatus.TIMED_OUT])


FAILURES = {
    "rate_limited": "Mux is busy. Try again in a moment.",
    "server_error": "Mux answered something that cannot be used. Try again in a moment.",
    "slow": "Mux did not answer in time. Try again in a moment.",
}


@pytest.mark.parametrize("kind", FAILURES)
async def test_while_mux_fails_a_video_stays_as_it_is_and_is_asked_about_later(
    school: School,
    mux: MuxEmulator,
    impatient: MaintenanceService,
    upkeep: MaintenanceService,
    clock: TurnableClock,
    kind: Any,
) -> None:
    await unheard_video_of(school, mux)
    clock.turn(timedelta(minutes=3))
    mux.faults = Faults(rest=RestFault(kind=kind, count=None, seconds=30))

    failing = await impatient.ask_mux()
    mux.faults = Faults()
    meanwhile = await statuses(school)
    at_once = await upkeep.ask_mux()
    clock.turn(timedelta(minutes=5))
    later = await upkeep.ask_mux()

    assert (failing.done, len(failing.failed), at_once.total, later.done) == (0, 1, 0, 1)
    assert FAILURES[kind] in failing.failed[0]
    assert (meanwhile, await statuses(school)) == ([VideoStatus.WAITING], [VideoStatus.READY])


async def test_one_video_that_mux_fails_at_holds_no_other_up(
    school: School, mux: MuxEmulator, impatient: MaintenanceService, clock: TurnableClock
) -> None:
    await unheard_video_of(school, mux)
    await unheard_video_of(school, mux)
    clock.turn(timedelta(minutes=3))
    mux.faults = Faults(rest=RestFault(kind="rate_limited", count=1, seconds=30))

    tally = await impatient.ask_mux()

    assert (tally.done, len(tally.failed)) == (1, 1)
    assert sorted(await statuses(school)) == [VideoStatus.READY, VideoStatus.WAITING]


# Videos that nothing names


async def test_an_upload_that_was_replaced_is_cancelled_at_mux(
    school: School, mux: MuxEmulator, upkeep: MaintenanceService
) -> None:
    admin, lesson = await begin(school)
    first, second = await upload_of(admin, lesson), await upload_of(admin, lesson)

    tally = await upkeep.delete_due()

    assert (tally.done, tally.failed, await pending(school)) == (1, [], set())
    assert (await at_mux(mux, f"/uploads/{first['upload_id']}"))["status"] == "cancelled"
    assert (await at_mux(mux, f"/uploads/{second['upload_id']}"))["status"] == "waiting"


async def test_an_upload_that_has_become_an_asset_meanwhile_has_its_asset_deleted(
    school: School, mux: MuxEmulator, upkeep: MaintenanceService
) -> None:
    admin, lesson = await begin(school)
    first = await upload_of(admin, lesson)
    await upload_of(admin, lesson)
    await put_file(first["upload_url"])
    await settle(mux)
    asset_id = (await at_mux(mux, f"/uploads/{first['upload_id']}"))["asset_id"]

    await upkeep.delete_due()
    between = await pending(school)
    await upkeep.delete_due()

    assert (between, await pending(school)) == ({(DeletionKind.ASSET, asset_id)}, set())
    assert await at_mux(mux, f"/assets/{asset_id}") is None


async def test_a_video_goes_from_mux_with_its_lesson(
    school: School, mux: MuxEmulator, upkeep: MaintenanceService
) -> None:
    admin, lesson, asset_id = await video_of(school, mux)
    await admin.delete(f"/api/admin/lessons/{lesson.id}")
    before = await at_mux(mux, f"/assets/{asset_id}")

    await upkeep.delete_due()

    assert before["status"] == "ready"
    assert await at_mux(mux, f"/assets/{asset_id}") is None
    assert await pending(school) == set()


async def test_the_video_before_goes_from_mux_once_the_new_one_plays(
    school: School, mux: MuxEmulator, upkeep: MaintenanceService
) -> None:
    admin, lesson, old = await video_of(school, mux)
    started = await upload_of(admin, lesson)
    too_early = await upkeep.delete_due()
    playing = (await status_of(admin, lesson), await at_mux(mux, f"/assets/{old}"))
    await put_file(started["upload_url"])
    await settle(mux)

    await upkeep.delete_due()

    new = (await status_of(admin, lesson))["asset_id"]
    assert (too_early.total, playing[1]["status"]) == (0, "ready")
    assert await at_mux(mux, f"/assets/{old}") is None
    assert (await at_mux(mux, f"/assets/{new}"))["status"] == "ready"


async def test_a_video_that_another_lesson_plays_is_kept(
    school: School, mux: MuxEmulator, upkeep: MaintenanceService
) -> None:
    admin, lesson, asset_id = await video_of(school, mux)
    await school.lesson(await school.level(await school.world()), mux_asset_id=asset_id)
    await admin.delete(f"/api/admin/lessons/{lesson.id}")

    tally = await upkeep.delete_due()

    assert tally.total == 0
    assert (await at_mux(mux, f"/assets/{asset_id}"))["status"] == "ready"


@pytest.mark.parametrize("kind", [DeletionKind.ASSET, DeletionKind.UPLOAD])
@pytest.mark.parametrize("name", ["unknown", "not-an-id"])
async def test_what_mux_does_not_know_counts_as_deleted(
    school: School, mux: MuxEmulator, upkeep: MaintenanceService, kind: DeletionKind, name: str
) -> None:
    await school.add(PendingDeletion(kind=kind, name=name))

    tally = await upkeep.delete_due()

    assert (tally.done, tally.failed, await pending(school)) == (1, [], set())


@pytest.mark.parametrize("kind", [DeletionKind.ASSET, DeletionKind.UPLOAD])
async def test_a_deletion_that_mux_does_not_take_is_tried_again_ever_less_often(
    school: School, mux: MuxEmulator, impatient: MaintenanceService, kind: DeletionKind
) -> None:
    """After half a minute, twice that, and so on up to six hours; nothing is given up."""
    await school.add(PendingDeletion(kind=kind, name="unknown"))
    mux.faults = Faults(rest=RestFault(kind="rate_limited", count=None, seconds=30))
    half_minutes = sa.func.round(sa.extract("epoch", PendingDeletion.due_at - sa.func.now()) / 30)
    seen = []

    for attempts in (0, 1, 2, 9, 10, 1000):
        async with school.sessions.begin() as session:
            await session.execute(sa.update(PendingDeletion).values(attempts=attempts))
        await due(school, "unknown")
        await impatient.delete_due()
        seen.append(int(await school.scalar(sa.select(half_minutes))))
    error = await school.scalar(sa.select(PendingDeletion.error))
    mux.faults = Faults()
    too_early = await impatient.delete_due()
    await due(school, "unknown")
    in_the_end = await impatient.delete_due()

    assert seen == [1, 2, 4, 512, 720, 720]
    assert error == FAILURES["rate_limited"]
    assert (too_early.total, in_the_end.done, await pending(school)) == (0, 1, set())


async def test_workers_at_once_ask_mux_for_each_deletion_once(
    school: School, mux: MuxEmulator, upkeep: MaintenanceService
) -> None:
    await school.add(*(PendingDeletion(kind=DeletionKind.ASSET, name=f"asset{number}") for number in range(12)))

    tallies = await asyncio.gather(*(upkeep.delete_due() for _ in range(4)))

    paths = [request.path for request in mux.requests]
    assert sum(tally.done for tally in tallies) == len(paths) == len(set(paths)) == 12


async def test_without_mux_or_storage_what_they_hold_stays_noted(school: School, app: Litestar) -> None:
    for kind in DeletionKind:
        await school.add(PendingDeletion(kind=kind, name="x"))
    idle = MaintenanceService(app.state.resources.transactions, None, None, app.state.resources.clock)

    await idle.do_what_is_due()
    compared, pictures = await idle.compare_assets(), await idle.orphaned_pictures()

    assert await pending(school) == {(kind, "x") for kind in DeletionKind}
    assert (compared, pictures) == (([], []), [])


async def test_a_person_has_everything_looked_at_now(
    school: School, mux: MuxEmulator, upkeep: MaintenanceService, impatient: MaintenanceService
) -> None:
    """Unfinished videos, and what failed to be deleted; not what waits for its time."""
    await unheard_video_of(school, mux)
    await school.add(PendingDeletion(kind=DeletionKind.ASSET, name="unknown"))
    later = datetime.now(UTC) + timedelta(days=1)
    await school.add(PendingDeletion(kind=DeletionKind.PICTURE, name="https://pictures.example/a.png", due_at=later))
    mux.faults = Faults(rest=RestFault(kind="rate_limited", count=1, seconds=30))
    await impatient.delete_due()

    hastened = await upkeep.hasten()
    done = (await upkeep.ask_mux()).done, (await upkeep.delete_due()).done

    assert (hastened, done) == ((1, 1), (1, 1))


# Old events


async def test_events_older_than_thirty_days_are_forgotten(school: School, upkeep: MaintenanceService) -> None:
    ages = {"old": timedelta(days=30, seconds=1), "just": timedelta(days=30), "young": timedelta(days=29)}
    for name, age in ages.items():
        await school.add(WebhookEvent(id=name, type="x", is_applied=False, body=b"", received_at=START - age))

    forgotten = await upkeep.forget_events()

    async with school.sessions() as session:
        kept = set(await session.scalars(sa.select(WebhookEvent.id)))
    assert (forgotten, kept) == (1, {"just", "young"})


# What belongs to nothing


async def test_assets_that_nothing_here_knows_and_lessons_without_theirs_are_found(
    school: School, mux: MuxEmulator, upkeep: MaintenanceService
) -> None:
    _, _, ours = await video_of(school, mux)
    admin, lesson, going = await video_of(school, mux)
    await admin.delete(f"/api/admin/lessons/{lesson.id}")
    upload = await at_mux(mux, "/uploads", "POST", {"new_asset_settings": {"playback_policies": ["public"]}})
    await put_file(upload["url"])
    await settle(mux)
    stray = (await at_mux(mux, f"/uploads/{upload['id']}"))["asset_id"]
    await school.lesson(await school.level(await school.world()), title="Cross body lead", mux_asset_id="lost")

    orphans, missing = await upkeep.compare_assets()

    assert stray in orphans
    assert not {ours, going} & set(orphans)
    assert missing == ["Cross body lead (lost)"]


async def test_pictures_that_nothing_shows_are_found_after_a_day(
    school: School, gallery: Gallery, upkeep: MaintenanceService, clock: TurnableClock
) -> None:
    """Those whose deletion is noted are not: they go anyway."""
    admin = await school.admin()
    stray, shown, told, noted = [await gallery.upload(admin) for _ in range(4)]
    await school.world(thumbnail_url=shown, description=f"See {told}.")
    async with school.sessions.begin() as session:
        await session.execute(sa.delete(PendingDeletion).where(PendingDeletion.name != noted))
    clock.now = datetime.now(UTC)

    on_the_same_day = await upkeep.orphaned_pictures()
    clock.turn(timedelta(hours=25))
    later = await upkeep.orphaned_pictures()

    assert {stray, shown, told, noted} & set(on_the_same_day) == set()
    assert {stray, shown, told, noted} & set(later) == {stray}
    assert await gallery.shows(stray) == [True]


# In the background


class Watched(MaintenanceService):
    """Says when a round is over."""

    def __init__(self, upkeep: MaintenanceService) -> None:
        super().__init__(upkeep.transactions, upkeep.host, upkeep.store, upkeep.clock)
        self.rounds = asyncio.Semaphore(0)

    async def do_what_is_due(self) -> None:
        await super().do_what_is_due()
        self.rounds.release()


async def test_what_is_due_is_done_in_the_background(
    school: School, mux: MuxEmulator, gallery: Gallery, upkeep: MaintenanceService, clock: TurnableClock
) -> None:
    admin, lesson = await unheard_video_of(school, mux)
    url = await gallery.upload(admin)
    await due(school, url)
    await school.add(
        WebhookEvent(id="old", type="x", is_applied=True, body=b"", received_at=START - timedelta(days=31))
    )
    clock.turn(timedelta(minutes=3))
    watched = Watched(upkeep)

    with running(watched, every=0.01):
        async with asyncio.timeout(10):
            await watched.rounds.acquire()

    assert (await status_of(admin, lesson))["status"] == "ready"
    assert await gallery.shows(url) == [False]
    assert await school.scalar(sa.select(WebhookEvent.id).where(WebhookEvent.id == "old")) is None


async def test_a_round_that_fails_is_not_the_last(school: School, upkeep: MaintenanceService) -> None:
    """As when the database was away for a moment."""

    class Stumbling(Watched):
        has_failed = False

        async def forget_events(self) -> int:
            if not self.has_failed:
                self.has_failed = True
                raise OSError
            return await super().forget_events()

    stumbling = Stumbling(upkeep)

    with running(stumbling, every=0.01):
        async with asyncio.timeout(10):
            await stumbling.rounds.acquire()

    assert stumbling.has_failed


async def test_a_round_that_hangs_ends_with_the_app(upkeep: MaintenanceService) -> None:
    is_hanging, has_ended = asyncio.Event(), asyncio.Event()

    class Hanging(MaintenanceService):
        async def do_what_is_due(self) -> None:
            is_hanging.set()
            try:
                await asyncio.Event().wait()
            finally:
                has_ended.set()

    hanging = Hanging(upkeep.transactions, None, None, upkeep.clock)

    async with asyncio.timeout(10):
        with running(hanging, every=0.01):
            await is_hanging.wait()
        await has_ended.wait()
