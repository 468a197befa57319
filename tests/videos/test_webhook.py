"""Mux's webhook: only signed events, each once, in any order, and none lost."""

import asyncio
import hmac
import json
from datetime import UTC, datetime
from itertools import permutations
from pathlib import Path
from typing import Any
from uuid import uuid4

import msgspec
import pytest
import sqlalchemy as sa
from litestar import Litestar
from sqlalchemy.ext.asyncio import AsyncEngine

from conftest import START, counted
from factories import School
from mambo.adapters.mux_events import BadSignature, check_signature, parse_event
from mambo.courses.models import Lesson, World
from mambo.deletions.models import DeletionKind, PendingDeletion
from mambo.devkit.mux import MuxEmulator
from mambo.videos.models import VideoUpload, WebhookEvent
from mambo.videos.rules import VideoStatus, VideoUpdate
from mambo.videos.service import provide_webhook_service, updater_in
from support.media import MUX_SECRET, OLD_MUX_SECRET, pending_deletions
from support.videos import NOW, WEBHOOK, Video, deliver, send, sign

DATA = Path(__file__).with_name("data")


@pytest.fixture
async def video(school: School) -> Video:
    return await create_upload(school)


async def create_upload(school: School, lesson: Lesson | None = None) -> Video:
    """Create an upload for a lesson."""
    if lesson is None:
        [lesson] = await school.lessons_of(await school.world(lessons=1))
    mux_upload_id = f"up{uuid4().hex}"
    upload = VideoUpload(lesson_id=lesson.id, mux_upload_id=mux_upload_id, updated_at=START, expires_at=START)
    await school.add(upload)
    return Video(lesson, upload)


async def get_state(school: School, video: Video) -> dict[str, Any]:
    """Return the state of the upload, what its lesson plays, and the number of events that are not applied."""
    async with school.sessions() as session:
        upload = await session.get_one(VideoUpload, video.upload.id)
        lesson = await session.get_one(Lesson, video.lesson.id)
        names = ("status", "mux_upload_id", "asset_id", "playback_id", "duration_seconds", "error")
        seen = {name: getattr(upload, name) for name in names}
        seen |= {
            f"lesson.{name}": getattr(lesson, name) for name in ("mux_playback_id", "mux_asset_id", "duration_seconds")
        }
        waiting = sa.select(sa.func.count()).select_from(WebhookEvent).where(~WebhookEvent.is_applied)
        return seen | {"unapplied": await session.scalar(waiting)}


# Signatures

VECTORS = json.loads((DATA / "mux_webhook_vectors.json").read_bytes())["vectors"]
BODY = b'{"type":"video.asset.ready","id":"e1","object":{"type":"asset","id":"as"},"data":{"id":"as"}}'
DIGEST = sign(BODY).partition("v1=")[2]
FORGED = {
    "no header": None,
    "an empty header": "",
    "no time": f"v1={DIGEST}",
    "no signature": f"t={NOW}",
    "an empty signature": f"t={NOW},v1=",
    "another scheme": f"t={NOW},v0={DIGEST}",
    "capitals": f"t={NOW},v1={DIGEST.upper()}",
    "a digit missing": f"t={NOW},v1={DIGEST[:-1]}",
    "not hexadecimal": f"t={NOW},v1={'z' * 64}",
    "not ASCII": f"t={NOW},v1=" + "\u00e9" * 64,
    "another time": f"t={NOW + 1},v1={DIGEST}",
    "a time that is no number": f"t=now,v1={hmac.digest(MUX_SECRET.encode(), b'now.' + BODY, 'sha256').hex()}",
    "digits that are not ASCII": f"t={NOW},v1={DIGEST}".replace("1", "\u0661", 1),
    "two times": f"t={NOW},t={NOW},v1={DIGEST}",
    "a time of 5000 digits": f"t={'9' * 5000},v1={DIGEST}",
    "too old": sign(BODY, at=NOW - 301),
    "too new": sign(BODY, at=NOW + 301),
    "another secret": sign(BODY, "a-secret-of-someone-else"),
    "an empty secret": sign(BODY, ""),
    "both secrets as one": sign(BODY, f"{MUX_SECRET}, {OLD_MUX_SECRET}"),
    "another body": sign(BODY + b" "),
}
GENUINE = {
    "the secret": sign(BODY),
    "the previous secret": sign(BODY, OLD_MUX_SECRET),
    "five minutes old": sign(BODY, at=NOW - 300),
    "five minutes ahead": sign(BODY, at=NOW + 300),
    "the second of two": f"t={NOW},v1={'0' * 64},v1={DIGEST}",
    "the time last, and spaces": f"v1={DIGEST}, t={NOW}",
    "another scheme in addition": f"t={NOW},v1={DIGEST},v2=abc",
}


@pytest.mark.parametrize("address", [WEBHOOK, "/api/webhook"])
@pytest.mark.parametrize("forgery", FORGED)
async def test_an_event_with_an_invalid_signature_is_refused_without_a_database_query(
    school: School, app: Litestar, forgery: str, address: str
) -> None:
    header = FORGED[forgery]
    headers = [] if header is None else [(b"Mux-Signature", header.encode())]

    with counted(app) as statements:
        response = await school.client.post(address, content=BODY, headers=headers)

    assert (response.status_code, response.json()["code"]) == (400, "bad_signature")
    assert statements == []


@pytest.mark.parametrize("address", [WEBHOOK, "/api/webhook"])
@pytest.mark.parametrize("case", GENUINE)
async def test_an_event_with_a_valid_signature_is_stored(school: School, case: str, address: str) -> None:
    response = await deliver(school.client, BODY, GENUINE[case], to=address)

    assert (response.status_code, response.json()) == (200, {"status": "ok"})
    assert await school.scalar(sa.select(WebhookEvent.body)) == BODY


@pytest.mark.parametrize("vector", VECTORS, ids=[vector["name"] for vector in VECTORS])
def test_the_signature_vectors_of_muxs_library_are_checked_alike(vector: dict[str, Any]) -> None:
    now = datetime.fromtimestamp(vector["now"], UTC)

    try:
        check_signature(vector["header"], vector["body"].encode(), (vector["secret"],), now)
        is_accepted = True
    except BadSignature:
        is_accepted = False

    assert is_accepted is vector["accepted"]


async def test_a_reserialised_body_is_refused(school: School) -> None:
    """The signature covers the bytes of the body."""
    again = json.dumps(json.loads(BODY)).encode()

    response = await deliver(school.client, again, sign(BODY))

    assert response.status_code == 400
    assert await school.scalar(sa.select(sa.func.count()).select_from(WebhookEvent)) == 0


def test_without_a_secret_no_signature_is_valid() -> None:
    with pytest.raises(BadSignature):
        check_signature(sign(BODY, ""), BODY, (), START)


@pytest.mark.parametrize(
    "body",
    [b"", b"[]", b"null", b"{", b'{"type":"video.asset.ready"}', b'{"id":1,"type":"x"}', b"[" * 100_000, b"\xff"],
)
async def test_a_signed_body_that_is_no_event_is_400(school: School, body: bytes) -> None:
    response = await deliver(school.client, body)

    assert (response.status_code, response.json()["code"]) == (400, "malformed_request")
    assert await school.scalar(sa.select(sa.func.count()).select_from(WebhookEvent)) == 0


async def test_a_body_over_256_kb_is_413(school: School) -> None:
    body = b'{"id":"e1","type":"x","data":"' + b"x" * 256_000 + b'"}'

    response = await deliver(school.client, body)

    assert response.status_code == 413


# Each event once


@pytest.mark.parametrize("name", json.loads((DATA / "mux_events.json").read_bytes())["events"])
async def test_the_example_events_of_mux_are_parsed(school: School, name: str) -> None:
    """They are about videos that are not ours, and are stored like all events."""
    event = json.loads((DATA / "mux_events.json").read_bytes())["events"][name]

    await send(school, event)

    row = await school.scalar(sa.select(WebhookEvent))
    assert (row.type, row.is_applied) == (name, False)
    assert row.asset_id or row.upload_id


@pytest.mark.parametrize(
    "event",
    [
        {"type": "video.live_stream.active", "id": "e1", "object": {"type": "live_stream", "id": "ls"}, "data": {}},
        {"type": "video.asset.track.ready", "id": "e1", "object": {"type": "track", "id": "tr"}, "data": {"id": "tr"}},
        {"type": "video.asset.warning", "id": "e1", "data": None},
        {"type": "", "id": "e1"},
        {"type": "video.asset.ready", "id": "e1", "data": {"id": "as", "playback_ids": "none"}},
        {"type": "video.asset.ready", "id": "e1", "object": 5, "data": [1]},
        {"type": "video.asset.ready", "id": "e1", "data": {"passthrough": "x" * 500}},
    ],
)
async def test_events_of_unknown_type_or_shape_are_stored(school: School, event: dict[str, Any]) -> None:
    await send(school, event)

    assert await school.scalar(sa.select(WebhookEvent.type)) == event["type"]


async def test_a_hundred_concurrent_deliveries_are_one_event(school: School, video: Video) -> None:
    body = msgspec.json.encode(video.ready())

    responses = await asyncio.gather(*(deliver(school.client, body) for _ in range(100)))
    later = [await deliver(school.client, body) for _ in range(10)]

    assert {response.status_code for response in [*responses, *later]} == {200}
    assert await school.scalar(sa.select(sa.func.count()).select_from(WebhookEvent)) == 1
    assert (await get_state(school, video))["status"] == VideoStatus.READY


async def test_a_redelivery_with_another_body_is_the_same_event(school: School, video: Video) -> None:
    """Its body and signature differ, and its id is the same."""
    event = video.ready()
    await send(school, event)
    await send(school, video.asset_event("deleted"))

    await send(school, event | {"attempts": [{"response_status_code": 503}]})

    assert await school.scalar(sa.select(sa.func.count()).select_from(WebhookEvent)) == 2
    assert (await get_state(school, video))["status"] == VideoStatus.DELETED


async def test_an_event_whose_effect_fails_is_not_stored(school: School, video: Video, engine: AsyncEngine) -> None:
    """The next delivery counts as the first, so the event is not lost."""
    event = video.ready()
    async with engine.begin() as connection:
        await connection.execute(sa.text("ALTER TABLE lesson ADD CONSTRAINT broken CHECK (mux_asset_id IS NULL)"))
    broken = await deliver(school.client, msgspec.json.encode(event))
    stored = await school.scalar(sa.select(sa.func.count()).select_from(WebhookEvent))
    async with engine.begin() as connection:
        await connection.execute(sa.text("ALTER TABLE lesson DROP CONSTRAINT broken"))

    await send(school, event)

    assert (broken.status_code, stored) == (409, 0)
    assert (await get_state(school, video))["lesson.mux_asset_id"] == video.asset_id


# Any order


def five_events(video: Video, last: str) -> list[dict[str, Any]]:
    five = {
        "ready": [video.upload_event("created"), video.asset_created(), video.asset_event("created"), video.ready()],
        "errored": [
            video.upload_event("created"),
            video.asset_created(),
            video.asset_event("created"),
            video.upload_event("errored", error={"type": "invalid_input", "message": "Not a video."}),
        ],
    }
    broken = {"type": "invalid_input", "messages": ["The file is broken."]}
    fifth = {
        "ready": video.asset_event("errored", errors=broken),
        "deleted": video.asset_event("deleted"),
        "errored": video.asset_event("errored", errors=broken),
    }
    return [*five["errored" if last == "errored" else "ready"], fifth[last]]


@pytest.mark.parametrize(("last", "has_passthrough"), [("ready", True), ("errored", True), ("deleted", False)])
async def test_all_orders_of_five_events_have_the_same_result(school: School, last: str, has_passthrough: bool) -> None:
    """120 orders each, of events about a ready video (with an old error), a failed one, and a deleted one.

    An event without passthrough has only Mux's ids, and may have to wait for the event that links them.
    """
    [lesson] = await school.lessons_of(await school.world(lessons=1))
    video = await create_upload(school, lesson)
    events = five_events(video, last)
    if not has_passthrough:
        events = [without_passthrough(event) for event in events]
    states = []

    for order in permutations(events):
        await send(school, *order)
        states.append(await get_state(school, video))
        await reset(school, video)

    plays = last == "ready"
    assert len(states) == 120
    assert [one for one in states if one != states[0]] == []
    assert states[0]["status"] == last
    assert states[0]["lesson.mux_asset_id"] == (video.asset_id if plays else None)
    assert states[0]["lesson.mux_playback_id"] == (video.playback_id if plays else None)
    assert states[0]["unapplied"] == 0


def without_passthrough(event: dict[str, Any]) -> dict[str, Any]:
    data = {name: value for name, value in event["data"].items() if name not in {"passthrough", "new_asset_settings"}}
    # Only `asset_created` links the asset to the upload then.
    if event["object"]["type"] == "asset":
        del data["upload_id"]
    return event | {"data": data}


async def reset(school: School, video: Video) -> None:
    """Reset to the state before the first event."""
    unknown = dict.fromkeys(("asset_id", "playback_id", "duration_seconds", "error"))
    start = unknown | {"status": VideoStatus.WAITING}
    async with school.sessions.begin() as session:
        await session.execute(sa.update(VideoUpload).where(VideoUpload.id == video.upload.id).values(start))
        no_video = dict.fromkeys(("mux_playback_id", "mux_asset_id", "duration_seconds"))
        await session.execute(sa.update(Lesson).where(Lesson.id == video.lesson.id).values(no_video))
        await session.execute(sa.delete(WebhookEvent))
        await session.execute(sa.delete(PendingDeletion))


async def wait_for_lock(school: School, task: asyncio.Task[Any]) -> None:
    """Wait until a request waits for a lock of another transaction, or is done."""
    waiting = sa.text("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'")
    async with school.sessions() as session:
        while not task.done() and not await session.scalar(waiting):
            pass


async def test_concurrent_events_that_need_each_other_are_both_applied(school: School, video: Video) -> None:
    """Neither misses the other, although both are received at the same moment."""
    ready, linking = without_passthrough(video.ready()), without_passthrough(video.asset_created())

    async with school.sessions.begin() as session:
        body = msgspec.json.encode(linking)
        await provide_webhook_service(session, START).receive(parse_event(body), body)
        other = asyncio.create_task(send(school, ready))
        await wait_for_lock(school, other)
    await other

    found = await get_state(school, video)
    assert (found["status"], found["unapplied"]) == (VideoStatus.READY, 0)


async def test_a_concurrent_event_does_not_undo_a_polled_update(school: School) -> None:
    """An event that is received while a response of Mux is being stored does not change the status back."""
    upload = VideoUpload(mux_upload_id=f"up{uuid4().hex}", updated_at=START, expires_at=START)
    await school.add(upload)
    event = {"type": "video.upload.asset_created", "id": "e1", "data": {"id": upload.mux_upload_id, "asset_id": "as1"}}

    async with school.sessions.begin() as session:
        update = VideoUpdate(VideoStatus.READY, asset_id="as1", playback_id="pb1")
        await updater_in(session, START).apply(upload.id, update)
        other = asyncio.create_task(send(school, event))
        await wait_for_lock(school, other)
    await other

    assert await school.scalar(sa.select(VideoUpload.status)) == VideoStatus.READY


async def test_an_event_of_another_asset_with_our_passthrough_is_not_applied(school: School, video: Video) -> None:
    """Such as the events of a clip that was created from the asset at Mux."""
    await send(school, video.ready())
    before = await get_state(school, video)
    clip = Video(video.lesson, video.upload)

    await send(school, clip.asset_event("deleted"), clip.ready())

    assert await get_state(school, video) == before | {"unapplied": 2}


# The effect on the lesson


async def test_the_old_video_stays_until_the_new_one_is_ready_and_is_then_deleted(school: School) -> None:
    old = await create_upload(school)
    await send(school, old.ready())
    new = await create_upload(school, old.lesson)
    await send(school, new.asset_created(), new.asset_event("created"))
    before = await get_state(school, new)

    await send(school, new.ready())

    assert before["lesson.mux_asset_id"] == old.asset_id
    assert (await get_state(school, new))["lesson.mux_asset_id"] == new.asset_id
    assert await pending_deletions(school) == {(DeletionKind.ASSET, old.asset_id)}


async def test_a_late_event_of_a_replaced_video_changes_nothing(school: School) -> None:
    old = await create_upload(school)
    await send(school, old.ready())
    new = await create_upload(school, old.lesson)
    await send(school, new.ready())

    await send(school, old.ready(), old.asset_event("created"), old.asset_event("deleted"))

    assert (await get_state(school, new))["lesson.mux_asset_id"] == new.asset_id


async def test_a_later_event_of_a_removed_video_does_not_set_it_again(school: School, video: Video) -> None:
    await send(school, video.ready(duration=None))
    await (await school.admin()).patch(f"/api/admin/lessons/{video.lesson.id}", {"delete_video": True})

    await send(school, video.ready())

    found = await get_state(school, video)
    assert (found["duration_seconds"], found["lesson.mux_asset_id"]) == (61.2, None)


async def test_a_failed_video_that_becomes_ready_late_does_not_replace_a_newer_one(
    school: School, mux: MuxEmulator
) -> None:
    old = await create_upload(school)
    await send(school, old.asset_event("errored"))
    admin = await school.admin()
    await admin.post("/api/mux/upload-url", {"lesson_id": str(old.lesson.id)})
    new = Video(old.lesson, await school.scalar(sa.select(VideoUpload).order_by(VideoUpload.id.desc())))
    await send(school, new.ready())

    await send(school, old.ready())

    assert (await get_state(school, new))["lesson.mux_asset_id"] == new.asset_id


async def test_a_video_deleted_at_mux_is_removed_from_its_lesson(school: School, video: Video) -> None:
    await send(school, video.ready())

    await send(school, video.asset_event("deleted"))

    found = await get_state(school, video)
    assert (found["lesson.mux_playback_id"], found["lesson.mux_asset_id"]) == (None, None)


async def test_a_video_without_an_upload_row_is_removed_from_its_lesson_too(school: School) -> None:
    [lesson] = await school.lessons_of(await school.world(lessons=1))
    async with school.sessions.begin() as session:
        values = {"mux_asset_id": "oldasset", "mux_playback_id": "oldplayback"}
        await session.execute(sa.update(Lesson).where(Lesson.id == lesson.id).values(values))
    video = Video(lesson, VideoUpload(id=uuid4(), mux_upload_id="unknown"))
    video.asset_id = "oldasset"

    await send(school, video.asset_event("deleted"))

    assert await school.scalar(sa.select(Lesson.mux_playback_id).where(Lesson.id == lesson.id)) is None


async def test_an_event_and_the_deletion_of_its_course_do_not_deadlock(school: School, video: Video) -> None:
    """A deletion locks the course, the lesson and the upload in this order; another order would deadlock with it."""
    async with school.sessions.begin() as session:
        await session.execute(sa.select(World).where(World.id == video.lesson.world_id).with_for_update())
        await session.execute(sa.select(Lesson).where(Lesson.id == video.lesson.id).with_for_update())
        event = asyncio.create_task(deliver(school.client, msgspec.json.encode(video.ready())))
        await wait_for_lock(school, event)
        await session.execute(sa.select(VideoUpload).where(VideoUpload.id == video.upload.id).with_for_update())

    assert (await event).status_code == 200
