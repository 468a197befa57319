"""A learner's own video: from the upload through Mux to the submission, and to its end."""

import asyncio
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
import sqlalchemy as sa
from litestar import Litestar

from conftest import START, TurnableClock, counted
from factories import Caller, School
from images.test_images import upkeep as upkeep
from maintenance.test_maintenance import at_mux
from mambo.courses.models import Lesson
from mambo.deletions.models import DeletionKind
from mambo.devkit.mux import ANALYSED, MuxEmulator
from mambo.devkit.mux_webhooks import Faults, RestFault
from mambo.maintenance.service import MaintenanceService
from mambo.submissions.models import Submission
from mambo.videos.models import VideoStatus, VideoUpload, WebhookEvent
from submissions.test_submitting import boss_of, count, grade, sent, submit
from support.media import ORIGIN
from videos.test_uploads import put_file, rows, settle
from videos.test_webhook import pending


async def begin(learner: Caller, lesson: Lesson) -> dict[str, Any]:
    response = await learner.post(
        "/api/submissions/upload-url",
        {"lesson_id": str(lesson.id), "filename": "my shines.mp4"},
        headers={"Origin": ORIGIN},
    )
    assert response.status_code == 200, response.text
    started: dict[str, Any] = response.json()
    return started


async def upload(learner: Caller, lesson: Lesson, mux: MuxEmulator) -> str:
    """A video that is ready; the id of its upload."""
    started = await begin(learner, lesson)
    await put_file(started["upload_url"])
    await settle(mux)
    upload_id: str = started["upload_id"]
    return upload_id


async def own(learner: Caller) -> list[dict[str, Any]]:
    shown: list[dict[str, Any]] = (await learner.get("/api/submissions/my-submissions")).json()
    return shown


# The walk


async def test_a_video_is_uploaded_submitted_watched_and_graded(school: School, mux: MuxEmulator) -> None:
    """Its playback id is shown to its learner and to staff; the lesson's own video is as it was."""
    boss = await boss_of(school, mux_playback_id="pb", mux_asset_id="as")
    learner, instructor = await school.person(), await school.instructor()

    upload_id = await upload(learner, boss, mux)
    submission_id = await sent(learner, boss, upload_id=upload_id)
    [shown] = await own(learner)
    [queued] = (await instructor.get("/api/admin/submissions?status=pending")).json()["items"]
    graded = (await grade(instructor, submission_id)).json()

    playback_id = await school.scalar(sa.select(VideoUpload.playback_id))
    for view in (shown, queued, graded):
        assert (view["video_status"], view["video_message"]) == ("ready", "The video is ready.")
        assert (view["mux_playback_id"], view["video_url"]) == (playback_id, None)
    assert graded["xp_gained"] == 120
    lesson = (await learner.get(f"/api/courses/lessons/{boss.id}")).json()
    assert (lesson["mux_playback_id"], lesson["mux_asset_id"], lesson["duration_minutes"]) == ("pb", "as", None)


async def test_a_video_may_be_submitted_while_it_is_processed(school: School, mux: MuxEmulator) -> None:
    """The queue says how it stands, and gets its playback id by itself."""
    boss = await boss_of(school)
    learner, instructor = await school.person(), await school.instructor()
    started = await begin(learner, boss)

    response = await submit(learner, boss.id, upload_id=started["upload_id"])
    before = (await instructor.get("/api/admin/submissions")).json()["items"][0]
    async with school.sessions.begin() as session:
        await session.execute(sa.update(VideoUpload).values(status=VideoStatus.PREPARING))
    meanwhile = (await own(learner))[0]
    await put_file(started["upload_url"])
    await settle(mux)
    after = (await own(learner))[0]

    assert (response.status_code, response.json()["video_status"]) == (201, "waiting")
    assert (before["video_status"], meanwhile["video_status"], after["video_status"]) == (
        "waiting",
        "processing",
        "ready",
    )
    assert (before["mux_playback_id"], meanwhile["mux_playback_id"]) == (None, None)
    assert after["mux_playback_id"]


async def test_mux_is_told_our_own_id_and_the_origin_and_nobodys_name(school: School, mux: MuxEmulator) -> None:
    boss = await boss_of(school)
    await begin(await school.person(), boss)

    [row] = await rows(school)
    assert mux.requests[0].body == {
        "cors_origin": ORIGIN,
        "timeout": 3600,
        "new_asset_settings": {"playback_policies": ["public"], "passthrough": str(row.id)},
    }


async def test_an_admin_waits_for_a_lessons_video_whatever_learners_upload(school: School, mux: MuxEmulator) -> None:
    boss = await boss_of(school)
    admin, learner = await school.admin(), await school.person()
    theirs = (await admin.post("/api/mux/upload-url", {"lesson_id": str(boss.id)})).json()
    await upload(learner, boss, mux)

    state = (await admin.post("/api/mux/check-upload-status", {"lesson_id": str(boss.id)})).json()
    await admin.post("/api/mux/upload-url", {"lesson_id": str(boss.id)})

    assert state["status"] == "waiting"
    assert await pending(school) == {(DeletionKind.UPLOAD, theirs["upload_id"])}


# One at a time, and one's own


async def test_a_new_upload_gives_up_the_unfinished_one_before(school: School, mux: MuxEmulator) -> None:
    """One's own for that battle, and no other."""
    boss, other = await boss_of(school), await boss_of(school)
    ana, ben = await school.person(), await school.person()
    first = await begin(ana, boss)
    kept = {(await begin(ana, other))["upload_id"], (await begin(ben, boss))["upload_id"]}

    second = await begin(ana, boss)

    assert {row.mux_upload_id for row in await rows(school)} == kept | {second["upload_id"]}
    assert await pending(school) == {(DeletionKind.UPLOAD, first["upload_id"])}


async def test_of_uploads_that_are_begun_at_once_one_is_left(school: School, mux: MuxEmulator) -> None:
    boss = await boss_of(school)
    learner = await school.person()

    started = await asyncio.gather(*(begin(learner, boss) for _ in range(8)))

    [kept] = await rows(school)
    others = {one["upload_id"] for one in started} - {kept.mux_upload_id}
    assert await pending(school) == {(DeletionKind.UPLOAD, upload_id) for upload_id in others}


@pytest.mark.parametrize("status", ["pending", "approved"])
async def test_whoever_waits_or_has_won_uploads_nothing(school: School, mux: MuxEmulator, status: str) -> None:
    boss = await boss_of(school)
    learner = await school.person()
    submission_id = await sent(learner, boss)
    if status == "approved":
        await grade(await school.admin(), submission_id)

    response = await learner.post("/api/submissions/upload-url", {"lesson_id": str(boss.id)})

    assert response.status_code == 409
    assert mux.requests == []


async def test_an_upload_that_mux_does_not_take_leaves_the_one_before(school: School, mux: MuxEmulator) -> None:
    boss = await boss_of(school)
    learner = await school.person()
    before = await begin(learner, boss)
    mux.faults = Faults(rest=RestFault(kind="server_error", count=None))

    refused = await learner.post("/api/submissions/upload-url", {"lesson_id": str(boss.id)})

    assert refused.status_code == 502
    assert [row.mux_upload_id for row in await rows(school)] == [before["upload_id"]]


async def test_a_video_of_someone_else_or_for_another_battle_is_as_one_that_is_not_there(
    school: School, mux: MuxEmulator
) -> None:
    """Nor can a lesson's own video be submitted, even by the admin who uploaded it."""
    boss, other = await boss_of(school), await boss_of(school)
    ana, ben, admin = await school.person(), await school.person(), await school.admin()
    anas = await upload(ana, boss, mux)
    lessons = (await admin.post("/api/mux/upload-url", {"lesson_id": str(boss.id)})).json()["upload_id"]

    answers = [
        await submit(ben, boss.id, upload_id=anas),
        await submit(ana, other.id, upload_id=anas),
        await submit(admin, boss.id, upload_id=lessons),
        await submit(ben, boss.id, upload_id=str(uuid4())),
    ]

    assert [answer.status_code for answer in answers] == [404] * 4
    assert len({answer.json()["detail"] for answer in answers}) == 1
    assert await count(school, Submission) == 0


async def test_a_video_is_submitted_once(school: School, mux: MuxEmulator) -> None:
    """Not again after it was rejected."""
    boss = await boss_of(school)
    learner = await school.person()
    upload_id = await upload(learner, boss, mux)
    await grade(await school.admin(), await sent(learner, boss, upload_id=upload_id), "rejected")

    response = await submit(learner, boss.id, upload_id=upload_id)

    assert (response.status_code, response.json()["code"]) == (409, "video_used")


async def test_a_video_that_is_submitted_twenty_times_at_once_is_submitted_once(
    school: School, mux: MuxEmulator
) -> None:
    boss = await boss_of(school)
    learner = await school.person()
    upload_id = await upload(learner, boss, mux)

    replies = await asyncio.gather(*(submit(learner, boss.id, upload_id=upload_id) for _ in range(20)))

    assert sorted(reply.status_code for reply in replies) == [201] + [409] * 19
    assert await count(school, Submission) == 1


async def test_uploading_anew_and_submitting_at_once_wait_for_each_other_in_no_circle(
    school: School, mux: MuxEmulator
) -> None:
    """Whichever comes first, nothing is answered but what may be."""
    learner = await school.person()
    for _ in range(5):
        boss = await boss_of(school)
        upload_id = (await begin(learner, boss))["upload_id"]

        replies = await asyncio.gather(
            submit(learner, boss.id, upload_id=upload_id),
            learner.post("/api/submissions/upload-url", {"lesson_id": str(boss.id)}),
        )

        assert replies[0].status_code in {201, 404}
        assert replies[1].status_code in {200, 409}


async def test_beginning_an_upload_holds_no_connection_while_mux_is_asked(
    school: School, mux: MuxEmulator, app: Litestar
) -> None:
    boss = await boss_of(school)
    learners = [await school.person() for _ in range(4)]
    mux.faults = Faults(rest=RestFault(kind="slow", count=None, seconds=0.5))
    beginning = [asyncio.create_task(begin(learner, boss)) for learner in learners]
    while len(mux.requests) < len(learners):
        await rows(school)

    held = app.state.resources.engine.sync_engine.pool.checkedout()

    assert held == 0
    await asyncio.gather(*beginning)


# Too long, or no video at all


async def test_a_video_of_more_than_ten_minutes_is_refused_and_deleted(
    school: School, mux: MuxEmulator, upkeep: MaintenanceService, monkeypatch: pytest.MonkeyPatch
) -> None:
    boss = await boss_of(school)
    learner = await school.person()
    monkeypatch.setitem(ANALYSED, "duration", 600.1)
    upload_id = await upload(learner, boss, mux)
    asset_id = await school.scalar(sa.select(VideoUpload.asset_id))

    response = await submit(learner, boss.id, upload_id=upload_id)
    noted = await pending(school)
    await upkeep.delete_due()
    await settle(mux)
    again = await submit(learner, boss.id, upload_id=upload_id)

    assert (response.status_code, response.json()["code"]) == (409, "video_failed")
    assert "longer than 10 minutes" in response.json()["detail"]
    assert noted == {(DeletionKind.ASSET, asset_id)}
    assert await at_mux(mux, f"/assets/{asset_id}") is None
    assert again.json()["detail"] == response.json()["detail"]
    assert await pending(school) == set()


async def test_a_video_of_ten_minutes_is_fine_and_so_is_a_longer_one_of_a_lesson(
    school: School, mux: MuxEmulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    boss = await boss_of(school)
    admin, learner = await school.admin(), await school.person()
    monkeypatch.setitem(ANALYSED, "duration", 600.0)
    upload_id = await upload(learner, boss, mux)
    monkeypatch.setitem(ANALYSED, "duration", 3600.0)
    started = (await admin.post("/api/mux/upload-url", {"lesson_id": str(boss.id)})).json()
    await put_file(started["upload_url"])
    await settle(mux)

    assert await sent(learner, boss, upload_id=upload_id)
    assert (await admin.get(f"/api/admin/lessons/{boss.id}")).json()["duration_seconds"] == 3600


async def test_a_submission_whose_video_came_to_nothing_makes_way_for_the_next(
    school: School, mux: MuxEmulator
) -> None:
    """Its learner is told why, and need not wait for someone to reject what nobody can watch."""
    boss = await boss_of(school)
    learner = await school.person()
    mux.faults = Faults(processing_error="The input is not a video.")
    started = await begin(learner, boss)
    first = await sent(learner, boss, upload_id=started["upload_id"])
    await put_file(started["upload_url"])
    await settle(mux)
    mux.faults = Faults()
    [told] = await own(learner)

    second = await sent(learner, boss, upload_id=await upload(learner, boss, mux))

    assert (told["id"], told["video_status"]) == (first, "error")
    assert "The input is not a video." in told["video_message"]
    assert [one["id"] for one in await own(learner)] == [second]
    assert await pending(school) == {(DeletionKind.UPLOAD, started["upload_id"])}


async def test_replacing_a_submission_and_grading_it_at_once_wait_for_each_other_in_no_circle(
    school: School, mux: MuxEmulator
) -> None:
    """The one that comes first counts, and the other is told."""
    learner, instructor = await school.person(), await school.instructor()
    for _ in range(10):
        boss = await boss_of(school)
        submission_id = await sent(learner, boss, upload_id=(await begin(learner, boss))["upload_id"])
        async with school.sessions.begin() as session:
            await session.execute(sa.update(VideoUpload).values(status=VideoStatus.ERRORED))

        sending, grading = await asyncio.gather(submit(learner, boss.id), grade(instructor, submission_id))

        assert (sending.status_code, grading.status_code) in {(201, 409), (201, 404), (409, 200)}


async def test_a_submission_that_was_graded_stays_whatever_becomes_of_its_video(
    school: School, mux: MuxEmulator
) -> None:
    boss = await boss_of(school)
    learner, admin = await school.person(), await school.admin()
    submission_id = await sent(learner, boss, upload_id=await upload(learner, boss, mux))
    await grade(admin, submission_id, "rejected")
    await admin.delete(f"/api/mux/asset/{await school.scalar(sa.select(VideoUpload.asset_id))}")

    await sent(learner, boss)

    _, rejected = await own(learner)
    assert (rejected["id"], rejected["status"], rejected["mux_playback_id"]) == (submission_id, "rejected", None)
    assert rejected["video_message"] == "The video cannot be used: It was deleted."


@pytest.mark.parametrize("status", ["timed_out", "cancelled", "errored", "deleted"])
async def test_a_video_that_came_to_nothing_cannot_be_submitted(school: School, mux: MuxEmulator, status: str) -> None:
    boss = await boss_of(school)
    learner = await school.person()
    upload_id = (await begin(learner, boss))["upload_id"]
    async with school.sessions.begin() as session:
        await session.execute(sa.update(VideoUpload).values(status=VideoStatus(status)))

    response = await submit(learner, boss.id, upload_id=upload_id)

    assert (response.status_code, response.json()["code"]) == (409, "video_failed")


# The end of a video


async def test_a_video_that_nobody_submits_goes_a_day_after_its_upload_address(
    school: School, mux: MuxEmulator, upkeep: MaintenanceService, clock: TurnableClock
) -> None:
    """From here and from Mux, and so does what never arrived; what was submitted stays."""
    boss = await boss_of(school)
    ana, ben, eva = await school.person(), await school.person(), await school.person()
    await upload(ana, boss, mux)
    asset_id = await school.scalar(sa.select(VideoUpload.asset_id))
    await begin(ben, boss)
    await sent(eva, boss, upload_id=await upload(eva, boss, mux))
    clock.turn(timedelta(hours=25) - timedelta(seconds=1))
    early = await upkeep.delete_due()
    clock.turn(timedelta(seconds=1))

    late = await upkeep.delete_due()

    assert (early.total, late.done, late.failed) == (0, 2, [])
    assert [row.created_by for row in await rows(school)] == [eva.user_id]
    assert await at_mux(mux, f"/assets/{asset_id}") is None
    assert (await own(eva))[0]["video_status"] == "ready"
    assert await pending(school) == set()


async def test_a_video_that_is_submitted_in_the_last_moment_stays(
    school: School, mux: MuxEmulator, upkeep: MaintenanceService
) -> None:
    """Or goes, and is answered as gone: never is a submission left without its video."""
    learner = await school.person()
    for _ in range(10):
        boss = await boss_of(school)
        upload_id = await upload(learner, boss, mux)
        async with school.sessions.begin() as session:
            is_this = VideoUpload.mux_upload_id == upload_id
            await session.execute(sa.update(VideoUpload).where(is_this).values(unused_until=START))

        reply, _ = await asyncio.gather(submit(learner, boss.id, upload_id=upload_id), upkeep.delete_due())

        kept = await school.scalar(sa.select(VideoUpload.id).where(VideoUpload.mux_upload_id == upload_id))
        assert (reply.status_code, kept is not None) in {(201, True), (404, False)}


@pytest.mark.parametrize("what", ["lesson", "world", "users"])
async def test_a_video_goes_from_mux_with_its_lesson_course_or_learner(
    school: School, mux: MuxEmulator, upkeep: MaintenanceService, what: str
) -> None:
    boss = await boss_of(school)
    learner = await school.person()
    await sent(learner, boss, upload_id=await upload(learner, boss, mux))
    asset_id = await school.scalar(sa.select(VideoUpload.asset_id))
    key: UUID = {"lesson": boss.id, "world": boss.world_id, "users": learner.user_id}[what]

    async with school.sessions.begin() as session:
        await session.execute(sa.text(f"DELETE FROM {what} WHERE id = :key"), {"key": key})  # noqa: S608
    noted = await pending(school)
    await upkeep.delete_due()

    assert noted == {(DeletionKind.ASSET, asset_id)}
    assert await at_mux(mux, f"/assets/{asset_id}") is None
    assert (await count(school, Submission), await rows(school)) == (0, [])


async def test_an_upload_that_is_submitted_cannot_be_deleted_alone(school: School, mux: MuxEmulator) -> None:
    boss = await boss_of(school)
    learner = await school.person()
    await sent(learner, boss, upload_id=await upload(learner, boss, mux))

    with pytest.raises(sa.exc.IntegrityError, match="fk_submission_video_upload_id_video_upload"):
        await delete_uploads(school)


async def delete_uploads(school: School) -> None:
    async with school.sessions.begin() as session:
        await session.execute(sa.delete(VideoUpload))


async def test_a_learners_video_belongs_to_something(
    school: School, mux: MuxEmulator, upkeep: MaintenanceService
) -> None:
    """Reconciling lists neither those that are submitted nor those that are not."""
    boss = await boss_of(school)
    ana, ben = await school.person(), await school.person()
    await upload(ana, boss, mux)
    await sent(ben, boss, upload_id=await upload(ben, boss, mux))

    orphans, missing = await upkeep.compare_assets()

    assert {row.asset_id for row in await rows(school)}.isdisjoint(orphans)
    assert missing == []


async def test_the_events_of_a_learners_video_wait_for_nothing(school: School, mux: MuxEmulator) -> None:
    boss = await boss_of(school)

    await upload(await school.person(), boss, mux)

    unapplied = sa.select(sa.func.count()).select_from(WebhookEvent).where(~WebhookEvent.is_applied)
    assert await school.scalar(unapplied) == 0


async def test_an_uploaded_video_is_submitted_in_seven_statements(
    school: School, mux: MuxEmulator, app: Litestar
) -> None:
    """Those of any video, and two for the upload."""
    boss = await boss_of(school)
    learner = await school.person()
    upload_id = await upload(learner, boss, mux)

    with counted(app) as statements:
        await sent(learner, boss, upload_id=upload_id)

    assert len(statements) == 7, statements
