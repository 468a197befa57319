"""A lesson's video: its upload to Mux, the lesson that plays it, and its deletion."""

import asyncio
from typing import Any
from uuid import uuid4

import pytest
import sqlalchemy as sa
from litestar import Litestar

from factories import School
from mambo.deletions.models import DeletionKind
from mambo.devkit.mux import MuxEmulator
from mambo.devkit.mux_webhooks import Faults, RestFault
from mambo.videos.models import VideoUpload
from mambo.videos.rules import VideoStatus
from support.media import ORIGIN, pending_deletions
from support.videos import begin, create_video, get_status, get_uploads, put_file, settle, start_upload

# From the upload to the lesson


async def test_an_uploaded_file_becomes_the_lessons_video(school: School, mux: MuxEmulator) -> None:
    admin, lesson = await begin(school)

    started = await start_upload(admin, lesson)
    before = await get_status(admin, lesson)
    put = await put_file(started["upload_url"])
    await settle(mux)
    shown = (await admin.get(f"/api/courses/lessons/{lesson.id}")).json()
    after = await get_status(admin, lesson)

    assert (put.status_code, started["status"], before["status"]) == (200, "waiting", "waiting")
    assert shown["mux_playback_id"]
    assert shown["duration_minutes"] == 1
    assert after == {
        "status": "ready",
        "playback_id": shown["mux_playback_id"],
        "asset_id": shown["mux_asset_id"],
        "message": "The video is ready.",
    }


async def test_a_file_uploaded_in_chunks_becomes_the_lessons_video(school: School, mux: MuxEmulator) -> None:
    """Each chunk but the last is a multiple of 256 KiB, as @mux/upchunk sends them."""
    admin, lesson = await begin(school)
    url = (await start_upload(admin, lesson))["upload_url"]
    size, total = 256 * 1024, 600_000
    content = b"d" * total
    statuses = []

    for start in range(0, total, size):
        chunk = content[start : start + size]
        content_range = f"bytes {start}-{start + len(chunk) - 1}/{total}"
        statuses.append((await put_file(url, chunk, **{"Content-Range": content_range})).status_code)
    await settle(mux)

    assert statuses == [308, 308, 200]
    assert (await get_status(admin, lesson))["status"] == "ready"


async def test_lesson_and_filename_can_be_query_parameters(school: School, mux: MuxEmulator) -> None:
    """The first web client sends them so, with a token that is ignored."""
    admin, lesson = await begin(school)

    started = await admin.post(f"/api/mux/upload-url?lesson_id={lesson.id}&filename=a.mp4&token=sekrit")
    state = await admin.post(f"/api/mux/check-upload-status?lesson_id={lesson.id}")

    assert (started.status_code, state.json()["status"]) == (200, "waiting")
    assert await school.scalar(sa.select(VideoUpload.filename)) == "a.mp4"


async def test_query_parameters_complete_the_body(school: School, mux: MuxEmulator) -> None:
    admin, lesson = await begin(school)

    await admin.post(f"/api/mux/upload-url?lesson_id={lesson.id}&filename=b.mp4", {"filename": "a.mp4"})

    [upload] = await get_uploads(school)
    assert (upload.lesson_id, upload.filename) == (lesson.id, "a.mp4")


async def test_an_invalid_lesson_in_the_query_is_the_only_error(school: School) -> None:
    response = await (await school.admin()).post("/api/mux/upload-url?lesson_id=abc")

    assert (response.status_code, response.json()["detail"]) == (422, "lesson_id must be a UUID.")


async def test_an_upload_can_be_for_no_lesson_yet(school: School, mux: MuxEmulator) -> None:
    admin = await school.admin()

    started = await admin.post("/api/mux/upload-url")
    await put_file(started.json()["upload_url"])
    await settle(mux)

    assert await school.scalar(sa.select(VideoUpload.status)) == VideoStatus.READY


async def test_mux_receives_our_id_and_the_origin(school: School, mux: MuxEmulator) -> None:
    """Our own id as passthrough, the origin of the request, and no personal data."""
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
async def test_an_unknown_origin_is_replaced_by_our_first(school: School, mux: MuxEmulator, origin: str | None) -> None:
    admin, lesson = await begin(school)

    headers = {"Origin": origin} if origin else {}
    await admin.post("/api/mux/upload-url", {"lesson_id": str(lesson.id)}, headers=headers)

    assert mux.requests[0].body["cors_origin"] == ORIGIN


# Invalid requests


@pytest.mark.parametrize("path", ["/api/mux/upload-url", "/api/mux/check-upload-status"])
async def test_a_lesson_that_does_not_exist_is_404(school: School, mux: MuxEmulator, path: str) -> None:
    admin = await school.admin()

    response = await admin.post(path, {"lesson_id": str(uuid4())})

    assert response.status_code == 404
    assert mux.requests == []


async def test_the_status_requires_a_lesson(school: School) -> None:
    response = await (await school.admin()).post("/api/mux/check-upload-status")

    assert response.status_code == 422
    assert response.json()["errors"][0]["field"] == "lesson_id"


@pytest.mark.parametrize(
    "body", [{"lesson_id": "7"}, {"lesson": "x"}, {"filename": ""}, {"filename": "a\nb"}, {"filename": "x" * 201}]
)
async def test_an_invalid_body_is_422(school: School, mux: MuxEmulator, body: dict[str, str]) -> None:
    response = await (await school.admin()).post("/api/mux/upload-url", body)

    assert response.status_code == 422
    assert mux.requests == []


# Replaced uploads


async def test_a_new_upload_replaces_an_unfinished_one(school: School, mux: MuxEmulator) -> None:
    admin, lesson = await begin(school)
    first = await start_upload(admin, lesson)

    second = await start_upload(admin, lesson)
    await put_file(second["upload_url"])
    await settle(mux)

    assert (await get_status(admin, lesson))["status"] == "ready"
    assert await pending_deletions(school) == {(DeletionKind.UPLOAD, first["upload_id"])}


async def test_a_file_for_a_replaced_upload_changes_nothing(school: School, mux: MuxEmulator) -> None:
    admin, lesson = await begin(school)
    first = await start_upload(admin, lesson)
    await start_upload(admin, lesson)

    await put_file(first["upload_url"])
    await settle(mux)

    assert (await get_status(admin, lesson))["status"] == "waiting"
    assert (await admin.get(f"/api/admin/lessons/{lesson.id}")).json()["mux_playback_id"] is None


async def test_of_concurrent_uploads_for_a_lesson_one_is_kept(school: School, mux: MuxEmulator) -> None:
    """The others are scheduled for deletion at Mux."""
    admin, lesson = await begin(school)

    started = await asyncio.gather(*(start_upload(admin, lesson) for _ in range(8)))

    [kept] = await get_uploads(school)
    others = {one["upload_id"] for one in started} - {kept.mux_upload_id}
    assert len(others) == 7
    assert await pending_deletions(school) == {(DeletionKind.UPLOAD, upload_id) for upload_id in others}


async def test_an_upload_that_mux_refuses_does_not_replace_the_current_one(school: School, mux: MuxEmulator) -> None:
    admin, lesson = await begin(school)
    before = await start_upload(admin, lesson)
    mux.faults = Faults(rest=RestFault(kind="server_error", count=None))

    refused = await admin.post("/api/mux/upload-url", {"lesson_id": str(lesson.id)})
    mux.faults = Faults()
    await put_file(before["upload_url"])
    await settle(mux)

    assert refused.status_code == 502
    assert (await get_status(admin, lesson))["status"] == "ready"


# Deleted videos


async def test_deleting_an_asset_removes_it_from_mux_and_from_the_lesson(school: School, mux: MuxEmulator) -> None:
    admin, lesson, asset_id = await create_video(school, mux)

    before = (await admin.get(f"/api/mux/asset/{asset_id}/exists")).json()
    deletion = await admin.delete(f"/api/mux/asset/{asset_id}")
    after = (await admin.get(f"/api/mux/asset/{asset_id}/exists")).json()

    assert (before, after) == ({"exists": True, "asset_id": asset_id}, {"exists": False, "asset_id": asset_id})
    assert (deletion.status_code, deletion.json()["status"]) == (200, "deleted")
    assert (await get_status(admin, lesson))["status"] == "none"
    assert await pending_deletions(school) == set()


@pytest.mark.parametrize("asset_id", ["unknown", "not-an-id", "a" * 300, "..%2F..%2Fuploads"])
async def test_deleting_an_unknown_asset_succeeds(school: School, mux: MuxEmulator, asset_id: str) -> None:
    admin = await school.admin()

    exists = await admin.get(f"/api/mux/asset/{asset_id}/exists")
    deletion = await admin.delete(f"/api/mux/asset/{asset_id}")

    if exists.status_code == 404:  # the path has two segments
        return
    assert exists.json()["exists"] is False
    assert deletion.json()["status"] == "deleted"


async def test_a_deletion_that_fails_at_mux_stays_pending(school: School, mux: MuxEmulator) -> None:
    """The video is removed from the lesson at once, and the response says that the deletion is pending."""
    admin, lesson, asset_id = await create_video(school, mux)
    mux.faults = Faults(rest=RestFault(kind="server_error", count=None))

    deletion = await admin.delete(f"/api/mux/asset/{asset_id}")

    assert (deletion.status_code, deletion.json()["status"]) == (200, "pending")
    assert (await admin.get(f"/api/admin/lessons/{lesson.id}")).json()["mux_asset_id"] is None
    assert await pending_deletions(school) == {(DeletionKind.ASSET, asset_id)}


async def test_the_video_and_upload_of_a_deleted_lesson_are_scheduled_for_deletion(
    school: School, mux: MuxEmulator
) -> None:
    """A trigger schedules it, also when the course is deleted."""
    admin, lesson, asset_id = await create_video(school, mux)
    started = await start_upload(admin, lesson)

    await admin.delete(f"/api/admin/courses/{lesson.world_id}?force=true")

    assert await pending_deletions(school) == {
        (DeletionKind.ASSET, asset_id),
        (DeletionKind.UPLOAD, started["upload_id"]),
    }


async def test_a_video_that_an_admin_removes_is_scheduled_for_deletion(school: School, mux: MuxEmulator) -> None:
    admin, lesson, asset_id = await create_video(school, mux)

    await admin.patch(f"/api/admin/lessons/{lesson.id}", {"delete_video": True})

    assert await pending_deletions(school) == {(DeletionKind.ASSET, asset_id)}
    assert (await get_status(admin, lesson))["status"] == "none"


async def test_a_refused_change_deletes_no_video(school: School, mux: MuxEmulator) -> None:
    admin, lesson, asset_id = await create_video(school, mux)
    other_level = await school.level(await school.world())

    refused = await admin.patch(
        f"/api/admin/lessons/{lesson.id}", {"delete_video": True, "level_id": str(other_level.id)}
    )

    assert refused.status_code == 409
    assert await pending_deletions(school) == set()
    assert (await get_status(admin, lesson))["asset_id"] == asset_id


# Failures of Mux


FAILURES = {
    "rate_limited": (503, "video_busy"),
    "server_error": (502, "dependency_failed"),
    "garbage": (502, "dependency_failed"),
    "huge": (502, "dependency_failed"),
    "reset": (503, "video_unavailable"),
}


@pytest.mark.parametrize("fault", FAILURES)
async def test_an_upload_that_fails_at_mux_is_not_stored(
    school: School, mux: MuxEmulator, app: Litestar, fault: Any
) -> None:
    admin, lesson = await begin(school)
    mux.faults = Faults(rest=RestFault(kind=fault, count=None, seconds=9))

    response = await admin.post("/api/mux/upload-url", {"lesson_id": str(lesson.id)})

    assert (response.status_code, response.json()["code"]) == FAILURES[fault]
    assert await get_uploads(school) == []


@pytest.mark.parametrize("fault", ["rate_limited", "server_error", "reset", "drop_reply"])
async def test_a_single_failure_of_mux_is_retried(school: School, mux: MuxEmulator, fault: Any) -> None:
    admin, lesson = await begin(school)
    mux.faults = Faults(rest=RestFault(kind=fault, count=1, seconds=0))

    started = await start_upload(admin, lesson)
    await put_file(started["upload_url"])
    await settle(mux)

    assert (await get_status(admin, lesson))["status"] == "ready"


async def test_a_video_that_mux_cannot_process_has_its_reason_in_the_status(school: School, mux: MuxEmulator) -> None:
    admin, lesson = await begin(school)
    mux.faults = Faults(processing_error="The input is not a video.")

    await put_file((await start_upload(admin, lesson))["upload_url"])
    await settle(mux)

    state = await get_status(admin, lesson)
    assert (state["status"], state["playback_id"]) == ("error", None)
    assert "The input is not a video." in state["message"]


@pytest.mark.parametrize("faults", [{"repeat_webhooks": 3}, {"reverse_webhooks": True}])
async def test_repeated_and_reversed_events_have_the_same_effect(
    school: School, mux: MuxEmulator, faults: dict[str, Any]
) -> None:
    admin, lesson = await begin(school)
    mux.faults = Faults(**faults)

    await put_file((await start_upload(admin, lesson))["upload_url"])
    await settle(mux)

    assert (await admin.get(f"/api/admin/lessons/{lesson.id}")).json()["mux_playback_id"]


async def test_checking_the_status_asks_mux_when_events_were_lost(school: School, mux: MuxEmulator) -> None:
    admin, lesson = await begin(school)
    mux.faults = Faults(lose_webhooks=None)
    await put_file((await start_upload(admin, lesson))["upload_url"])
    await settle(mux)

    state = await get_status(admin, lesson)

    assert state["status"] == "ready"
    assert (await admin.get(f"/api/admin/lessons/{lesson.id}")).json()["mux_asset_id"] == state["asset_id"]
