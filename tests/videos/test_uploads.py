"""A lesson's video, from the upload through Mux to the lesson, and to its end."""

import asyncio
from typing import Any
from uuid import uuid4

import httpx
import pytest
import sqlalchemy as sa
from litestar import Litestar

from factories import Caller, School
from mambo.courses.models import Lesson
from mambo.deletions.models import DeletionKind
from mambo.devkit.mux import MuxEmulator
from mambo.devkit.mux_webhooks import Faults, RestFault
from mambo.videos.models import VideoStatus, VideoUpload
from support.media import ORIGIN
from videos.test_webhook import pending

FILE = b"a dance " * 1000


async def begin(school: School) -> tuple[Caller, Lesson]:
    """An admin, and a lesson without a video."""
    [lesson] = await school.lessons_of(await school.world(lessons=1))
    return await school.admin(), lesson


async def upload_of(admin: Caller, lesson: Lesson) -> dict[str, Any]:
    response = await admin.post("/api/mux/upload-url", {"lesson_id": str(lesson.id), "filename": "basic step.mp4"})
    assert response.status_code == 200, response.text
    started: dict[str, Any] = response.json()
    return started


async def put_file(url: str, content: bytes = FILE, **headers: str) -> httpx.Response:
    """The browser's part, straight to Mux."""
    async with httpx.AsyncClient() as browser:
        return await browser.put(url, content=content, headers=headers)


async def settle(mux: MuxEmulator) -> None:
    """Wait until Mux has processed what it got, and every webhook was answered."""
    await asyncio.to_thread(mux.settle)


async def status_of(admin: Caller, lesson: Lesson) -> dict[str, Any]:
    response = await admin.post("/api/mux/check-upload-status", {"lesson_id": str(lesson.id)})
    assert response.status_code == 200, response.text
    state: dict[str, Any] = response.json()
    return state


async def video_of(school: School, mux: MuxEmulator) -> tuple[Caller, Lesson, str]:
    """An admin, and a lesson with a video, and its asset's id."""
    admin, lesson = await begin(school)
    await put_file((await upload_of(admin, lesson))["upload_url"])
    await settle(mux)
    return admin, lesson, (await status_of(admin, lesson))["asset_id"]


# The walk


async def test_a_file_that_is_put_becomes_the_lessons_video(school: School, mux: MuxEmulator) -> None:
    admin, lesson = await begin(school)

    started = await upload_of(admin, lesson)
    before = await status_of(admin, lesson)
    put = await put_file(started["upload_url"])
    await settle(mux)
    shown = (await admin.get(f"/api/courses/lessons/{lesson.id}")).json()
    after = await status_of(admin, lesson)

    assert (put.status_code, started["status"], before["status"]) == (200, "waiting", "waiting")
    assert shown["mux_playback_id"]
    assert shown["duration_minutes"] == 1
    assert after == {
        "status": "ready",
        "playback_id": shown["mux_playback_id"],
        "asset_id": shown["mux_asset_id"],
        "message": "The video is ready.",
    }


async def test_a_browsers_chunks_become_the_lessons_video(school: School, mux: MuxEmulator) -> None:
    """As @mux/upchunk sends them, a multiple of 256 KiB each."""
    admin, lesson = await begin(school)
    url = (await upload_of(admin, lesson))["upload_url"]
    size, total = 256 * 1024, 600_000
    content = b"d" * total
    statuses = []

    for start in range(0, total, size):
        chunk = content[start : start + size]
        content_range = f"bytes {start}-{start + len(chunk) - 1}/{total}"
        statuses.append((await put_file(url, chunk, **{"Content-Range": content_range})).status_code)
    await settle(mux)

    assert statuses == [308, 308, 200]
    assert (await status_of(admin, lesson))["status"] == "ready"


async def test_the_lesson_and_the_filename_may_come_in_the_query(school: School, mux: MuxEmulator) -> None:
    """As the first web client sends them, with a token that is ignored."""
    admin, lesson = await begin(school)

    started = await admin.post(f"/api/mux/upload-url?lesson_id={lesson.id}&filename=a.mp4&token=sekrit")
    state = await admin.post(f"/api/mux/check-upload-status?lesson_id={lesson.id}")

    assert (started.status_code, state.json()["status"]) == (200, "waiting")
    assert await school.scalar(sa.select(VideoUpload.filename)) == "a.mp4"


async def test_the_query_adds_what_the_body_does_not_say(school: School, mux: MuxEmulator) -> None:
    admin, lesson = await begin(school)

    await admin.post(f"/api/mux/upload-url?lesson_id={lesson.id}&filename=b.mp4", {"filename": "a.mp4"})

    [upload] = await rows(school)
    assert (upload.lesson_id, upload.filename) == (lesson.id, "a.mp4")


async def test_a_wrong_lesson_in_the_query_is_told_without_asking_for_a_body(school: School) -> None:
    response = await (await school.admin()).post("/api/mux/upload-url?lesson_id=abc")

    assert (response.status_code, response.json()["detail"]) == (422, "lesson_id must be a UUID.")


async def test_an_upload_may_be_for_no_lesson_yet(school: School, mux: MuxEmulator) -> None:
    admin = await school.admin()

    started = await admin.post("/api/mux/upload-url")
    await put_file(started.json()["upload_url"])
    await settle(mux)

    assert await school.scalar(sa.select(VideoUpload.status)) == VideoStatus.READY


async def test_mux_is_asked_for_what_the_browser_will_need(school: School, mux: MuxEmulator) -> None:
    """Our own id comes back with every event, the origin is the caller's, nobody's name is in it."""
    admin, lesson = await begin(school)

    await admin.post("/api/mux/upload-url", {"lesson_id": str(lesson.id)}, headers={"Origin": ORIGIN})

    upload_id = await school.scalar(sa.select(VideoUpload.id))
    [seen] = mux.requests
    assert seen.body == {
        "cors_origin": ORIGIN,
        "timeout": 3600,
        "new_asset_settings": {"playback_policies": ["public"], "passthrough": str(upload_id)},
    }


@pytest.mark.parametrize("origin", [None, "https://evil.example", "https://app.mambo.example.evil.example"])
async def test_another_origin_may_not_put_a_file(school: School, mux: MuxEmulator, origin: str | None) -> None:
    admin, lesson = await begin(school)

    headers = {"Origin": origin} if origin else {}
    await admin.post("/api/mux/upload-url", {"lesson_id": str(lesson.id)}, headers=headers)

    assert mux.requests[0].body["cors_origin"] == ORIGIN


# What can be wrong with a request


@pytest.mark.parametrize("path", ["/api/mux/upload-url", "/api/mux/check-upload-status"])
async def test_a_lesson_that_is_not_there_has_no_video(school: School, mux: MuxEmulator, path: str) -> None:
    admin = await school.admin()

    response = await admin.post(path, {"lesson_id": str(uuid4())})

    assert response.status_code == 404
    assert mux.requests == []


async def test_whose_status_is_asked_must_be_said(school: School) -> None:
    response = await (await school.admin()).post("/api/mux/check-upload-status")

    assert response.status_code == 422
    assert response.json()["errors"][0]["field"] == "lesson_id"


@pytest.mark.parametrize(
    "body", [{"lesson_id": "7"}, {"lesson": "x"}, {"filename": ""}, {"filename": "a\nb"}, {"filename": "x" * 201}]
)
async def test_a_request_that_cannot_be_used_is_told(school: School, mux: MuxEmulator, body: dict[str, str]) -> None:
    response = await (await school.admin()).post("/api/mux/upload-url", body)

    assert response.status_code == 422
    assert mux.requests == []


# One live upload


async def test_a_new_upload_replaces_one_that_came_to_nothing(school: School, mux: MuxEmulator) -> None:
    admin, lesson = await begin(school)
    first = await upload_of(admin, lesson)

    second = await upload_of(admin, lesson)
    await put_file(second["upload_url"])
    await settle(mux)

    assert (await status_of(admin, lesson))["status"] == "ready"
    assert await pending(school) == {(DeletionKind.UPLOAD, first["upload_id"])}


async def test_a_file_for_an_upload_that_was_replaced_changes_nothing(school: School, mux: MuxEmulator) -> None:
    admin, lesson = await begin(school)
    first = await upload_of(admin, lesson)
    await upload_of(admin, lesson)

    await put_file(first["upload_url"])
    await settle(mux)

    assert (await status_of(admin, lesson))["status"] == "waiting"
    assert (await admin.get(f"/api/admin/lessons/{lesson.id}")).json()["mux_playback_id"] is None


async def test_of_uploads_that_are_begun_at_once_one_is_left(school: School, mux: MuxEmulator) -> None:
    """The others are to be cancelled at Mux."""
    admin, lesson = await begin(school)

    started = await asyncio.gather(*(upload_of(admin, lesson) for _ in range(8)))

    [kept] = await rows(school)
    others = {one["upload_id"] for one in started} - {kept.mux_upload_id}
    assert len(others) == 7
    assert await pending(school) == {(DeletionKind.UPLOAD, upload_id) for upload_id in others}


async def test_an_upload_that_mux_does_not_take_leaves_the_one_before(school: School, mux: MuxEmulator) -> None:
    admin, lesson = await begin(school)
    before = await upload_of(admin, lesson)
    mux.faults = Faults(rest=RestFault(kind="server_error", count=None))

    refused = await admin.post("/api/mux/upload-url", {"lesson_id": str(lesson.id)})
    mux.faults = Faults()
    await put_file(before["upload_url"])
    await settle(mux)

    assert refused.status_code == 502
    assert (await status_of(admin, lesson))["status"] == "ready"


async def rows(school: School) -> list[VideoUpload]:
    async with school.sessions() as session:
        return list(await session.scalars(sa.select(VideoUpload)))


# The end of a video


async def test_a_deleted_asset_is_gone_from_mux_and_from_its_lesson(school: School, mux: MuxEmulator) -> None:
    admin, lesson, asset_id = await video_of(school, mux)

    before = (await admin.get(f"/api/mux/asset/{asset_id}/exists")).json()
    deletion = await admin.delete(f"/api/mux/asset/{asset_id}")
    after = (await admin.get(f"/api/mux/asset/{asset_id}/exists")).json()

    assert (before, after) == ({"exists": True, "asset_id": asset_id}, {"exists": False, "asset_id": asset_id})
    assert (deletion.status_code, deletion.json()["status"]) == (200, "deleted")
    assert (await status_of(admin, lesson))["status"] == "none"
    assert await pending(school) == set()


@pytest.mark.parametrize("asset_id", ["unknown", "not-an-id", "a" * 300, "..%2F..%2Fuploads"])
async def test_deleting_what_mux_does_not_have_is_done(school: School, mux: MuxEmulator, asset_id: str) -> None:
    admin = await school.admin()

    exists = await admin.get(f"/api/mux/asset/{asset_id}/exists")
    deletion = await admin.delete(f"/api/mux/asset/{asset_id}")

    if exists.status_code == 404:  # an address of two parts
        return
    assert exists.json()["exists"] is False
    assert deletion.json()["status"] == "deleted"


async def test_a_deletion_that_mux_does_not_take_is_kept(school: School, mux: MuxEmulator) -> None:
    """The lesson lets the video go at once; the answer says what is still to come."""
    admin, lesson, asset_id = await video_of(school, mux)
    mux.faults = Faults(rest=RestFault(kind="server_error", count=None))

    deletion = await admin.delete(f"/api/mux/asset/{asset_id}")

    assert (deletion.status_code, deletion.json()["status"]) == (200, "pending")
    assert (await admin.get(f"/api/admin/lessons/{lesson.id}")).json()["mux_asset_id"] is None
    assert await pending(school) == {(DeletionKind.ASSET, asset_id)}


async def test_a_lesson_that_goes_has_its_video_and_its_upload_deleted(school: School, mux: MuxEmulator) -> None:
    """With its course, too: the database notes it, whichever way the lesson goes."""
    admin, lesson, asset_id = await video_of(school, mux)
    started = await upload_of(admin, lesson)

    await admin.delete(f"/api/admin/courses/{lesson.world_id}?force=true")

    assert await pending(school) == {(DeletionKind.ASSET, asset_id), (DeletionKind.UPLOAD, started["upload_id"])}


async def test_a_video_that_an_admin_clears_is_deleted(school: School, mux: MuxEmulator) -> None:
    admin, lesson, asset_id = await video_of(school, mux)

    await admin.patch(f"/api/admin/lessons/{lesson.id}", {"delete_video": True})

    assert await pending(school) == {(DeletionKind.ASSET, asset_id)}
    assert (await status_of(admin, lesson))["status"] == "none"


async def test_a_change_that_fails_deletes_nothing(school: School, mux: MuxEmulator) -> None:
    admin, lesson, asset_id = await video_of(school, mux)
    other_level = await school.level(await school.world())

    refused = await admin.patch(
        f"/api/admin/lessons/{lesson.id}", {"delete_video": True, "level_id": str(other_level.id)}
    )

    assert refused.status_code == 409
    assert await pending(school) == set()
    assert (await status_of(admin, lesson))["asset_id"] == asset_id


# When Mux fails


FAILURES = {
    "rate_limited": (503, "video_busy"),
    "server_error": (502, "dependency_failed"),
    "garbage": (502, "dependency_failed"),
    "huge": (502, "dependency_failed"),
    "reset": (503, "video_unavailable"),
}


@pytest.mark.parametrize("fault", FAILURES)
async def test_mux_failing_is_told_and_leaves_nothing_begun(
    school: School, mux: MuxEmulator, app: Litestar, fault: Any
) -> None:
    admin, lesson = await begin(school)
    mux.faults = Faults(rest=RestFault(kind=fault, count=None, seconds=9))

    response = await admin.post("/api/mux/upload-url", {"lesson_id": str(lesson.id)})

    assert (response.status_code, response.json()["code"]) == FAILURES[fault]
    assert await rows(school) == []


@pytest.mark.parametrize("fault", ["rate_limited", "server_error", "reset", "drop_reply"])
async def test_mux_failing_once_is_not_noticed(school: School, mux: MuxEmulator, fault: Any) -> None:
    admin, lesson = await begin(school)
    mux.faults = Faults(rest=RestFault(kind=fault, count=1, seconds=0))

    started = await upload_of(admin, lesson)
    await put_file(started["upload_url"])
    await settle(mux)

    assert (await status_of(admin, lesson))["status"] == "ready"


async def test_a_video_that_mux_cannot_read_is_told_with_the_reason(school: School, mux: MuxEmulator) -> None:
    admin, lesson = await begin(school)
    mux.faults = Faults(processing_error="The input is not a video.")

    await put_file((await upload_of(admin, lesson))["upload_url"])
    await settle(mux)

    state = await status_of(admin, lesson)
    assert (state["status"], state["playback_id"]) == ("error", None)
    assert "The input is not a video." in state["message"]


@pytest.mark.parametrize("faults", [{"repeat_webhooks": 3}, {"reverse_webhooks": True}])
async def test_events_twice_or_in_reverse_make_no_difference(
    school: School, mux: MuxEmulator, faults: dict[str, Any]
) -> None:
    admin, lesson = await begin(school)
    mux.faults = Faults(**faults)

    await put_file((await upload_of(admin, lesson))["upload_url"])
    await settle(mux)

    assert (await admin.get(f"/api/admin/lessons/{lesson.id}")).json()["mux_playback_id"]


async def test_asking_for_the_status_finds_what_no_event_told(school: School, mux: MuxEmulator) -> None:
    admin, lesson = await begin(school)
    mux.faults = Faults(lose_webhooks=None)
    await put_file((await upload_of(admin, lesson))["upload_url"])
    await settle(mux)

    state = await status_of(admin, lesson)

    assert state["status"] == "ready"
    assert (await admin.get(f"/api/admin/lessons/{lesson.id}")).json()["mux_asset_id"] == state["asset_id"]
