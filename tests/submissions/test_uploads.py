"""Uploads of learners' videos: from Mux to the submission, and their deletion."""

import asyncio
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
import sqlalchemy as sa
from litestar import Litestar

from conftest import START, TurnableClock, counted
from factories import Caller, School
from mambo.courses.models import Lesson
from mambo.deletions.models import DeletionKind
from mambo.devkit.mux import ANALYSED, MuxEmulator
from mambo.devkit.mux_webhooks import Faults, RestFault
from mambo.maintenance.service import MaintenanceService
from mambo.submissions.models import Submission
from mambo.videos.models import VideoUpload, WebhookEvent
from mambo.videos.rules import VideoStatus
from support.media import ORIGIN, pending_deletions, run_deletions
from support.submissions import add_battle, count, create_submission, get_own, grade, submit
from support.videos import call_mux, get_uploads, put_file, settle


async def start_upload(learner: Caller, lesson: Lesson) -> dict[str, Any]:
    response = await learner.post(
        "/api/submissions/upload-url",
        {"lesson_id": str(lesson.id), "filename": "my shines.mp4"},
        headers={"Origin": ORIGIN},
    )
    assert response.status_code == 200, response.text
    started: dict[str, Any] = response.json()
    return started


async def create_upload(learner: Caller, lesson: Lesson, mux: MuxEmulator) -> str:
    """Upload a video until it is ready, and return the upload's id."""
    started = await start_upload(learner, lesson)
    await put_file(started["upload_url"])
    await settle(mux)
    upload_id: str = started["upload_id"]
    return upload_id


# From the upload to the grade


async def test_an_uploaded_video_is_submitted_and_graded(school: School, mux: MuxEmulator) -> None:
    """Its learner and staff get its playback id; the lesson's own video does not change."""
    battle = await add_battle(school, mux_playback_id="pb", mux_asset_id="as")
    learner, instructor = await school.person(), await school.instructor()

    upload_id = await create_upload(learner, battle, mux)
    submission_id = await create_submission(learner, battle, upload_id=upload_id)
    [shown] = await get_own(learner)
    [queued] = (await instructor.get("/api/admin/submissions?status=pending")).json()["items"]
    graded = (await grade(instructor, submission_id)).json()

    playback_id = await school.scalar(sa.select(VideoUpload.playback_id))
    for view in (shown, queued, graded):
        assert (view["video_status"], view["video_message"]) == ("ready", "The video is ready.")
        assert (view["mux_playback_id"], view["video_url"]) == (playback_id, None)
    assert graded["xp_gained"] == 120
    lesson = (await learner.get(f"/api/courses/lessons/{battle.id}")).json()
    assert (lesson["mux_playback_id"], lesson["mux_asset_id"], lesson["duration_minutes"]) == ("pb", "as", None)


async def test_a_video_may_be_submitted_while_it_is_processed(school: School, mux: MuxEmulator) -> None:
    """The list has its state, and later its playback id."""
    battle = await add_battle(school)
    learner, instructor = await school.person(), await school.instructor()
    started = await start_upload(learner, battle)

    response = await submit(learner, battle.id, upload_id=started["upload_id"])
    before = (await instructor.get("/api/admin/submissions")).json()["items"][0]
    async with school.sessions.begin() as session:
        await session.execute(sa.update(VideoUpload).values(status=VideoStatus.PREPARING))
    during = (await get_own(learner))[0]
    await put_file(started["upload_url"])
    await settle(mux)
    after = (await get_own(learner))[0]

    assert (response.status_code, response.json()["video_status"]) == (201, "waiting")
    assert (before["video_status"], during["video_status"], after["video_status"]) == (
        "waiting",
        "processing",
        "ready",
    )
    assert (before["mux_playback_id"], during["mux_playback_id"]) == (None, None)
    assert after["mux_playback_id"]


async def test_mux_gets_our_id_and_the_origin_and_no_personal_data(school: School, mux: MuxEmulator) -> None:
    battle = await add_battle(school)
    await start_upload(await school.person(), battle)

    [row] = await get_uploads(school)
    assert mux.requests[0].body == {
        "cors_origin": ORIGIN,
        "timeout": 3600,
        "new_asset_settings": {"playback_policies": ["public"], "passthrough": str(row.id)},
    }


async def test_uploads_of_learners_do_not_change_the_state_of_the_lessons_video(
    school: School, mux: MuxEmulator
) -> None:
    battle = await add_battle(school)
    admin, learner = await school.admin(), await school.person()
    admins = (await admin.post("/api/mux/upload-url", {"lesson_id": str(battle.id)})).json()
    await create_upload(learner, battle, mux)

    state = (await admin.post("/api/mux/check-upload-status", {"lesson_id": str(battle.id)})).json()
    await admin.post("/api/mux/upload-url", {"lesson_id": str(battle.id)})

    assert state["status"] == "waiting"
    assert await pending_deletions(school) == {(DeletionKind.UPLOAD, admins["upload_id"])}


# One at a time, and only their own


async def test_a_new_upload_replaces_the_unfinished_one(school: School, mux: MuxEmulator) -> None:
    """Only the learner's own for the same battle."""
    battle, other = await add_battle(school), await add_battle(school)
    ana, ben = await school.person(), await school.person()
    first = await start_upload(ana, battle)
    kept = {(await start_upload(ana, other))["upload_id"], (await start_upload(ben, battle))["upload_id"]}

    second = await start_upload(ana, battle)

    assert {row.mux_upload_id for row in await get_uploads(school)} == kept | {second["upload_id"]}
    assert await pending_deletions(school) == {(DeletionKind.UPLOAD, first["upload_id"])}


async def test_of_concurrently_started_uploads_one_is_kept(school: School, mux: MuxEmulator) -> None:
    battle = await add_battle(school)
    learner = await school.person()

    started = await asyncio.gather(*(start_upload(learner, battle) for _ in range(8)))

    [kept] = await get_uploads(school)
    others = {one["upload_id"] for one in started} - {kept.mux_upload_id}
    assert await pending_deletions(school) == {(DeletionKind.UPLOAD, upload_id) for upload_id in others}


@pytest.mark.parametrize("status", ["pending", "approved"])
async def test_an_upload_is_refused_while_a_submission_is_pending_or_approved(
    school: School, mux: MuxEmulator, status: str
) -> None:
    battle = await add_battle(school)
    learner = await school.person()
    submission_id = await create_submission(learner, battle)
    if status == "approved":
        await grade(await school.admin(), submission_id)

    response = await learner.post("/api/submissions/upload-url", {"lesson_id": str(battle.id)})

    assert response.status_code == 409
    assert mux.requests == []


async def test_an_upload_that_mux_refuses_does_not_replace_the_unfinished_one(school: School, mux: MuxEmulator) -> None:
    battle = await add_battle(school)
    learner = await school.person()
    before = await start_upload(learner, battle)
    mux.faults = Faults(rest=RestFault(kind="server_error", count=None))

    refused = await learner.post("/api/submissions/upload-url", {"lesson_id": str(battle.id)})

    assert refused.status_code == 502
    assert [row.mux_upload_id for row in await get_uploads(school)] == [before["upload_id"]]


async def test_an_upload_of_another_learner_or_for_another_battle_is_not_found(
    school: School, mux: MuxEmulator
) -> None:
    """Neither is a lesson's own video, even for the admin who uploaded it."""
    battle, other = await add_battle(school), await add_battle(school)
    ana, ben, admin = await school.person(), await school.person(), await school.admin()
    anas = await create_upload(ana, battle, mux)
    lessons = (await admin.post("/api/mux/upload-url", {"lesson_id": str(battle.id)})).json()["upload_id"]

    responses = [
        await submit(ben, battle.id, upload_id=anas),
        await submit(ana, other.id, upload_id=anas),
        await submit(admin, battle.id, upload_id=lessons),
        await submit(ben, battle.id, upload_id=str(uuid4())),
    ]

    assert [response.status_code for response in responses] == [404] * 4
    assert len({response.json()["detail"] for response in responses}) == 1
    assert await count(school, Submission) == 0


async def test_an_upload_is_submitted_once(school: School, mux: MuxEmulator) -> None:
    """Also not again after a rejection."""
    battle = await add_battle(school)
    learner = await school.person()
    upload_id = await create_upload(learner, battle, mux)
    await grade(await school.admin(), await create_submission(learner, battle, upload_id=upload_id), "rejected")

    response = await submit(learner, battle.id, upload_id=upload_id)

    assert (response.status_code, response.json()["code"]) == (409, "video_used")


async def test_of_twenty_concurrent_submissions_of_an_upload_one_succeeds(school: School, mux: MuxEmulator) -> None:
    battle = await add_battle(school)
    learner = await school.person()
    upload_id = await create_upload(learner, battle, mux)

    replies = await asyncio.gather(*(submit(learner, battle.id, upload_id=upload_id) for _ in range(20)))

    assert sorted(reply.status_code for reply in replies) == [201] + [409] * 19
    assert await count(school, Submission) == 1


async def test_concurrent_starting_and_submitting_of_uploads_do_not_deadlock(school: School, mux: MuxEmulator) -> None:
    learner = await school.person()
    for _ in range(5):
        battle = await add_battle(school)
        upload_id = (await start_upload(learner, battle))["upload_id"]

        replies = await asyncio.gather(
            submit(learner, battle.id, upload_id=upload_id),
            learner.post("/api/submissions/upload-url", {"lesson_id": str(battle.id)}),
        )

        assert replies[0].status_code in {201, 404}
        assert replies[1].status_code in {200, 409}


async def test_starting_an_upload_holds_no_connection_while_mux_is_called(
    school: School, mux: MuxEmulator, app: Litestar
) -> None:
    battle = await add_battle(school)
    learners = [await school.person() for _ in range(4)]
    mux.faults = Faults(rest=RestFault(kind="slow", count=None, seconds=0.5))
    starting = [asyncio.create_task(start_upload(learner, battle)) for learner in learners]
    while len(mux.requests) < len(learners):
        await get_uploads(school)

    held = app.state.resources.engine.sync_engine.pool.checkedout()

    assert held == 0
    await asyncio.gather(*starting)


# Unusable videos


async def test_a_video_of_more_than_ten_minutes_is_refused_and_deleted(
    school: School, mux: MuxEmulator, maintenance: MaintenanceService, monkeypatch: pytest.MonkeyPatch
) -> None:
    battle = await add_battle(school)
    learner = await school.person()
    monkeypatch.setitem(ANALYSED, "duration", 600.1)
    upload_id = await create_upload(learner, battle, mux)
    asset_id = await school.scalar(sa.select(VideoUpload.asset_id))

    response = await submit(learner, battle.id, upload_id=upload_id)
    noted = await pending_deletions(school)
    await run_deletions(school, maintenance)
    await settle(mux)
    again = await submit(learner, battle.id, upload_id=upload_id)

    assert (response.status_code, response.json()["code"]) == (409, "video_failed")
    assert "longer than 10 minutes" in response.json()["detail"]
    assert noted == {(DeletionKind.ASSET, asset_id)}
    assert await call_mux(mux, f"/assets/{asset_id}") is None
    assert again.json()["detail"] == response.json()["detail"]
    assert await pending_deletions(school) == set()


async def test_a_video_of_ten_minutes_is_accepted_and_a_longer_one_for_a_lesson(
    school: School, mux: MuxEmulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    battle = await add_battle(school)
    admin, learner = await school.admin(), await school.person()
    monkeypatch.setitem(ANALYSED, "duration", 600.0)
    upload_id = await create_upload(learner, battle, mux)
    monkeypatch.setitem(ANALYSED, "duration", 3600.0)
    started = (await admin.post("/api/mux/upload-url", {"lesson_id": str(battle.id)})).json()
    await put_file(started["upload_url"])
    await settle(mux)

    assert await create_submission(learner, battle, upload_id=upload_id)
    assert (await admin.get(f"/api/admin/lessons/{battle.id}")).json()["duration_seconds"] == 3600


async def test_a_submission_whose_video_failed_is_replaced_by_the_next(school: School, mux: MuxEmulator) -> None:
    """Its learner gets the reason, and need not wait for a rejection."""
    battle = await add_battle(school)
    learner = await school.person()
    mux.faults = Faults(processing_error="The input is not a video.")
    started = await start_upload(learner, battle)
    first = await create_submission(learner, battle, upload_id=started["upload_id"])
    await put_file(started["upload_url"])
    await settle(mux)
    mux.faults = Faults()
    [failed] = await get_own(learner)

    second = await create_submission(learner, battle, upload_id=await create_upload(learner, battle, mux))

    assert (failed["id"], failed["video_status"]) == (first, "error")
    assert "The input is not a video." in failed["video_message"]
    assert [one["id"] for one in await get_own(learner)] == [second]
    assert await pending_deletions(school) == {(DeletionKind.UPLOAD, started["upload_id"])}


async def test_concurrent_replacing_and_grading_of_a_submission_do_not_deadlock(
    school: School, mux: MuxEmulator
) -> None:
    """The first succeeds, and the other is refused."""
    learner, instructor = await school.person(), await school.instructor()
    for _ in range(10):
        battle = await add_battle(school)
        submission_id = await create_submission(
            learner, battle, upload_id=(await start_upload(learner, battle))["upload_id"]
        )
        async with school.sessions.begin() as session:
            await session.execute(sa.update(VideoUpload).values(status=VideoStatus.ERRORED))

        submitting, grading = await asyncio.gather(submit(learner, battle.id), grade(instructor, submission_id))

        assert (submitting.status_code, grading.status_code) in {(201, 409), (201, 404), (409, 200)}


async def test_a_graded_submission_stays_when_its_video_is_deleted(school: School, mux: MuxEmulator) -> None:
    battle = await add_battle(school)
    learner, admin = await school.person(), await school.admin()
    submission_id = await create_submission(learner, battle, upload_id=await create_upload(learner, battle, mux))
    await grade(admin, submission_id, "rejected")
    await admin.delete(f"/api/mux/asset/{await school.scalar(sa.select(VideoUpload.asset_id))}")

    await create_submission(learner, battle)

    _, rejected = await get_own(learner)
    assert (rejected["id"], rejected["status"], rejected["mux_playback_id"]) == (submission_id, "rejected", None)
    assert rejected["video_message"] == "The video cannot be used: It was deleted."


@pytest.mark.parametrize("status", ["timed_out", "cancelled", "errored", "deleted"])
async def test_a_failed_upload_cannot_be_submitted(school: School, mux: MuxEmulator, status: str) -> None:
    battle = await add_battle(school)
    learner = await school.person()
    upload_id = (await start_upload(learner, battle))["upload_id"]
    async with school.sessions.begin() as session:
        await session.execute(sa.update(VideoUpload).values(status=VideoStatus(status)))

    response = await submit(learner, battle.id, upload_id=upload_id)

    assert (response.status_code, response.json()["code"]) == (409, "video_failed")


# Deletion


async def test_an_upload_that_is_not_submitted_is_deleted_a_day_after_its_address_expires(
    school: School, mux: MuxEmulator, maintenance: MaintenanceService, clock: TurnableClock
) -> None:
    """Here and at Mux, also one without a file; a submitted one stays."""
    battle = await add_battle(school)
    ana, ben, eva = await school.person(), await school.person(), await school.person()
    await create_upload(ana, battle, mux)
    asset_id = await school.scalar(sa.select(VideoUpload.asset_id))
    await start_upload(ben, battle)
    await create_submission(eva, battle, upload_id=await create_upload(eva, battle, mux))
    clock.turn(timedelta(hours=25) - timedelta(seconds=1))
    early = await run_deletions(school, maintenance)
    clock.turn(timedelta(seconds=1))

    late = await run_deletions(school, maintenance)

    assert (early.done, late.done, late.failures) == (0, 2, [])
    assert [row.created_by for row in await get_uploads(school)] == [eva.user_id]
    assert await call_mux(mux, f"/assets/{asset_id}") is None
    assert (await get_own(eva))[0]["video_status"] == "ready"
    assert await pending_deletions(school) == set()


async def test_an_upload_that_is_submitted_while_it_expires_is_kept_or_not_found(
    school: School, mux: MuxEmulator, maintenance: MaintenanceService
) -> None:
    """No submission is left without its upload."""
    learner = await school.person()
    for _ in range(10):
        battle = await add_battle(school)
        upload_id = await create_upload(learner, battle, mux)
        async with school.sessions.begin() as session:
            is_this = VideoUpload.mux_upload_id == upload_id
            await session.execute(sa.update(VideoUpload).where(is_this).values(unused_until=START))

        reply, _ = await asyncio.gather(
            submit(learner, battle.id, upload_id=upload_id), run_deletions(school, maintenance)
        )

        kept = await school.scalar(sa.select(VideoUpload.id).where(VideoUpload.mux_upload_id == upload_id))
        assert (reply.status_code, kept is not None) in {(201, True), (404, False)}


@pytest.mark.parametrize("what", ["lesson", "world", "users"])
async def test_a_video_is_deleted_at_mux_with_its_lesson_course_or_learner(
    school: School, mux: MuxEmulator, maintenance: MaintenanceService, what: str
) -> None:
    battle = await add_battle(school)
    learner = await school.person()
    await create_submission(learner, battle, upload_id=await create_upload(learner, battle, mux))
    asset_id = await school.scalar(sa.select(VideoUpload.asset_id))
    key: UUID = {"lesson": battle.id, "world": battle.world_id, "users": learner.user_id}[what]

    async with school.sessions.begin() as session:
        await session.execute(sa.text(f"DELETE FROM {what} WHERE id = :key"), {"key": key})  # noqa: S608
    noted = await pending_deletions(school)
    await run_deletions(school, maintenance)

    assert noted == {(DeletionKind.ASSET, asset_id)}
    assert await call_mux(mux, f"/assets/{asset_id}") is None
    assert (await count(school, Submission), await get_uploads(school)) == (0, [])


async def test_a_submitted_upload_cannot_be_deleted(school: School, mux: MuxEmulator) -> None:
    battle = await add_battle(school)
    learner = await school.person()
    await create_submission(learner, battle, upload_id=await create_upload(learner, battle, mux))

    with pytest.raises(sa.exc.IntegrityError, match="fk_submission_video_upload_id_video_upload"):
        await delete_uploads(school)


async def delete_uploads(school: School) -> None:
    async with school.sessions.begin() as session:
        await session.execute(sa.delete(VideoUpload))


async def test_videos_of_learners_are_no_orphans(
    school: School, mux: MuxEmulator, maintenance: MaintenanceService
) -> None:
    """Neither submitted ones nor others."""
    battle = await add_battle(school)
    ana, ben = await school.person(), await school.person()
    await create_upload(ana, battle, mux)
    await create_submission(ben, battle, upload_id=await create_upload(ben, battle, mux))

    orphans, missing = await maintenance.compare_assets()

    assert {row.asset_id for row in await get_uploads(school)}.isdisjoint(orphans)
    assert missing == []


async def test_events_about_a_learners_video_are_applied(school: School, mux: MuxEmulator) -> None:
    battle = await add_battle(school)

    await create_upload(await school.person(), battle, mux)

    unapplied = sa.select(sa.func.count()).select_from(WebhookEvent).where(~WebhookEvent.is_applied)
    assert await school.scalar(unapplied) == 0


async def test_submitting_an_upload_takes_a_constant_number_of_statements(
    school: School, mux: MuxEmulator, app: Litestar
) -> None:
    """Those of any submission, and two for the upload."""
    battle = await add_battle(school)
    learner = await school.person()
    upload_id = await create_upload(learner, battle, mux)

    with counted(app) as statements:
        await create_submission(learner, battle, upload_id=upload_id)

    assert len(statements) == 8, statements
