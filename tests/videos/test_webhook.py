"""Mux's webhook: only what Mux signed, each event once, in any order, and nothing lost."""

import asyncio
import hmac
import json
from datetime import UTC, datetime
from itertools import permutations
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import msgspec
import pytest
import sqlalchemy as sa
from litestar import Litestar
from sqlalchemy.ext.asyncio import AsyncEngine

from conftest import START, counted
from factories import School
from mambo.adapters.mux_events import BadSignature, check_signature, read_event
from mambo.courses.models import Lesson, World
from mambo.deletions.models import DeletionKind, PendingDeletion
from mambo.devkit.mux import MuxEmulator
from mambo.videos.models import VideoStatus, VideoUpload, WebhookEvent
from mambo.videos.rules import VideoUpdate
from mambo.videos.service import WebhookService, learn
from support.media import MUX_SECRET, OLD_MUX_SECRET

DATA = Path(__file__).with_name("data")
NOW = int(START.timestamp())
ADDRESS = "/api/mux/webhook"


def signature(body: bytes, secret: str = MUX_SECRET, at: int = NOW) -> str:
    digest = hmac.digest(secret.encode(), b"%d." % at + body, "sha256").hex()
    return f"t={at},v1={digest}"


async def deliver(
    client: httpx.AsyncClient, body: bytes, header: str | None = None, to: str = ADDRESS
) -> httpx.Response:
    return await client.post(to, content=body, headers={"Mux-Signature": header or signature(body)})


class Story:
    """A video on its way, and the events that Mux sends of it."""

    def __init__(self, lesson: Lesson, upload: VideoUpload) -> None:
        self.lesson, self.upload = lesson, upload
        self.upload_id, self.asset_id, self.playback_id = upload.mux_upload_id, f"as{uuid4().hex}", f"pb{uuid4().hex}"

    def of_upload(self, what: str, **data: Any) -> dict[str, Any]:
        settings = {"passthrough": str(self.upload.id), "playback_policies": ["public"]}
        about = {"type": "upload", "id": self.upload_id}
        data = {"id": self.upload_id, "status": what, "new_asset_settings": settings} | data
        return {"type": f"video.upload.{what}", "id": str(uuid4()), "object": about, "data": data}

    def of_asset(self, what: str, **data: Any) -> dict[str, Any]:
        about = {"type": "asset", "id": self.asset_id}
        data = {
            "id": self.asset_id,
            "upload_id": self.upload_id,
            "passthrough": str(self.upload.id),
            "playback_ids": [{"policy": "public", "id": self.playback_id}],
            "created_at": NOW,
            "max_stored_frame_rate": -1,
        } | data
        return {"type": f"video.asset.{what}", "id": str(uuid4()), "object": about, "data": data}

    def ready(self, **data: Any) -> dict[str, Any]:
        return self.of_asset("ready", **{"status": "ready", "duration": 61.2} | data)

    def asset_created(self) -> dict[str, Any]:
        return self.of_upload("asset_created", asset_id=self.asset_id)


@pytest.fixture
async def story(school: School) -> Story:
    return await begin(school)


async def begin(school: School, lesson: Lesson | None = None) -> Story:
    """An upload for a lesson."""
    if lesson is None:
        [lesson] = await school.lessons_of(await school.world(lessons=1))
    mux_upload_id = f"up{uuid4().hex}"
    upload = VideoUpload(
        lesson_id=lesson.id, mux_upload_id=mux_upload_id, updated_at=START, expires_at=START, ask_at=START
    )
    await school.add(upload)
    return Story(lesson, upload)


async def send(school: School, *events: dict[str, Any]) -> None:
    for event in events:
        response = await deliver(school.client, msgspec.json.encode(event))
        assert (response.status_code, response.json()) == (200, {"status": "ok"}), response.text


async def outcome(school: School, story: Story) -> dict[str, Any]:
    """Everything that is known of the video in the end, save when it was learnt."""
    async with school.sessions() as session:
        upload = await session.get_one(VideoUpload, story.upload.id)
        lesson = await session.get_one(Lesson, story.lesson.id)
        names = ("status", "mux_upload_id", "asset_id", "playback_id", "duration_seconds", "error", "ask_at")
        seen = {name: getattr(upload, name) for name in names}
        seen |= {
            f"lesson.{name}": getattr(lesson, name) for name in ("mux_playback_id", "mux_asset_id", "duration_seconds")
        }
        waiting = sa.select(sa.func.count()).select_from(WebhookEvent).where(~WebhookEvent.is_applied)
        return seen | {"unapplied": await session.scalar(waiting)}


# Signed by Mux, or nothing

VECTORS = json.loads((DATA / "mux_webhook_vectors.json").read_bytes())["vectors"]
BODY = b'{"type":"video.asset.ready","id":"e1","object":{"type":"asset","id":"as"},"data":{"id":"as"}}'
DIGEST = signature(BODY).partition("v1=")[2]
FORGED = {
    "no header": None,
    "an empty header": "",
    "no time": f"v1={DIGEST}",
    "no signature": f"t={NOW}",
    "an empty signature": f"t={NOW},v1=",
    "another scheme": f"t={NOW},v0={DIGEST}",
    "capitals": f"t={NOW},v1={DIGEST.upper()}",
    "a digit less": f"t={NOW},v1={DIGEST[:-1]}",
    "not hexadecimal": f"t={NOW},v1={'z' * 64}",
    "not ASCII": f"t={NOW},v1=" + "\u00e9" * 64,
    "another time": f"t={NOW + 1},v1={DIGEST}",
    "a time that is no number": f"t=now,v1={hmac.digest(MUX_SECRET.encode(), b'now.' + BODY, 'sha256').hex()}",
    "other digits": f"t={NOW},v1={DIGEST}".replace("1", "\u0661", 1),
    "two times": f"t={NOW},t={NOW},v1={DIGEST}",
    "an endless time": f"t={'9' * 5000},v1={DIGEST}",
    "too old": signature(BODY, at=NOW - 301),
    "too new": signature(BODY, at=NOW + 301),
    "another secret": signature(BODY, "a-secret-of-someone-else"),
    "an empty secret": signature(BODY, ""),
    "both secrets as one": signature(BODY, f"{MUX_SECRET}, {OLD_MUX_SECRET}"),
    "another body": signature(BODY + b" "),
}
GENUINE = {
    "the secret": signature(BODY),
    "the secret before": signature(BODY, OLD_MUX_SECRET),
    "five minutes old": signature(BODY, at=NOW - 300),
    "five minutes ahead": signature(BODY, at=NOW + 300),
    "the second of two": f"t={NOW},v1={'0' * 64},v1={DIGEST}",
    "the time last, and spaces": f"v1={DIGEST}, t={NOW}",
    "an unknown scheme beside": f"t={NOW},v1={DIGEST},v2=abc",
}


@pytest.mark.parametrize("address", [ADDRESS, "/api/webhook"])
@pytest.mark.parametrize("forgery", FORGED)
async def test_what_mux_did_not_sign_is_refused_without_a_look_at_the_database(
    school: School, app: Litestar, forgery: str, address: str
) -> None:
    header = FORGED[forgery]
    headers = [] if header is None else [(b"Mux-Signature", header.encode())]

    with counted(app) as statements:
        response = await school.client.post(address, content=BODY, headers=headers)

    assert (response.status_code, response.json()["code"]) == (400, "bad_signature")
    assert statements == []


@pytest.mark.parametrize("address", [ADDRESS, "/api/webhook"])
@pytest.mark.parametrize("case", GENUINE)
async def test_what_mux_signed_is_stored(school: School, case: str, address: str) -> None:
    response = await deliver(school.client, BODY, GENUINE[case], to=address)

    assert (response.status_code, response.json()) == (200, {"status": "ok"})
    assert await school.scalar(sa.select(WebhookEvent.body)) == BODY


@pytest.mark.parametrize("vector", VECTORS, ids=[vector["name"] for vector in VECTORS])
def test_signatures_count_as_they_do_for_muxs_own_library(vector: dict[str, Any]) -> None:
    now = datetime.fromtimestamp(vector["now"], UTC)

    try:
        check_signature(vector["header"], vector["body"].encode(), (vector["secret"],), now)
        is_accepted = True
    except BadSignature:
        is_accepted = False

    assert is_accepted is vector["accepted"]


async def test_a_body_that_was_written_anew_is_refused(school: School) -> None:
    """The signature is over the bytes, not over what they mean."""
    again = json.dumps(json.loads(BODY)).encode()

    response = await deliver(school.client, again, signature(BODY))

    assert response.status_code == 400
    assert await school.scalar(sa.select(sa.func.count()).select_from(WebhookEvent)) == 0


def test_without_a_secret_nothing_is_signed() -> None:
    with pytest.raises(BadSignature):
        check_signature(signature(BODY, ""), BODY, (), START)


@pytest.mark.parametrize(
    "body",
    [b"", b"[]", b"null", b"{", b'{"type":"video.asset.ready"}', b'{"id":1,"type":"x"}', b"[" * 100_000, b"\xff"],
)
async def test_a_signed_body_that_is_no_event_is_malformed(school: School, body: bytes) -> None:
    response = await deliver(school.client, body)

    assert (response.status_code, response.json()["code"]) == (400, "malformed_request")
    assert await school.scalar(sa.select(sa.func.count()).select_from(WebhookEvent)) == 0


async def test_a_body_over_256_kb_is_refused_before_it_is_read(school: School) -> None:
    body = b'{"id":"e1","type":"x","data":"' + b"x" * 256_000 + b'"}'

    response = await deliver(school.client, body)

    assert response.status_code == 413


# Once, whatever comes


@pytest.mark.parametrize("name", json.loads((DATA / "mux_events.json").read_bytes())["events"])
async def test_muxs_own_examples_are_read(school: School, name: str) -> None:
    """Those of a video that is not ours: stored, and answered as all others."""
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
async def test_events_of_unknown_type_or_shape_are_stored_and_answered(school: School, event: dict[str, Any]) -> None:
    await send(school, event)

    assert await school.scalar(sa.select(WebhookEvent.type)) == event["type"]


async def test_a_hundred_copies_at_once_are_one_event(school: School, story: Story) -> None:
    body = msgspec.json.encode(story.ready())

    responses = await asyncio.gather(*(deliver(school.client, body) for _ in range(100)))
    later = [await deliver(school.client, body) for _ in range(10)]

    assert {response.status_code for response in [*responses, *later]} == {200}
    assert await school.scalar(sa.select(sa.func.count()).select_from(WebhookEvent)) == 1
    assert (await outcome(school, story))["status"] == VideoStatus.READY


async def test_a_redelivery_with_other_attempts_is_the_same_event(school: School, story: Story) -> None:
    """Its body and signature differ, its id does not."""
    event = story.ready()
    await send(school, event)
    await send(school, story.of_asset("deleted"))

    await send(school, event | {"attempts": [{"response_status_code": 503}]})

    assert await school.scalar(sa.select(sa.func.count()).select_from(WebhookEvent)) == 2
    assert (await outcome(school, story))["status"] == VideoStatus.DELETED


async def test_an_event_whose_effect_fails_is_not_stored(school: School, story: Story, engine: AsyncEngine) -> None:
    """The next delivery is the first, then: nothing was lost."""
    event = story.ready()
    async with engine.begin() as connection:
        await connection.execute(sa.text("ALTER TABLE lesson ADD CONSTRAINT broken CHECK (mux_asset_id IS NULL)"))
    broken = await deliver(school.client, msgspec.json.encode(event))
    stored = await school.scalar(sa.select(sa.func.count()).select_from(WebhookEvent))
    async with engine.begin() as connection:
        await connection.execute(sa.text("ALTER TABLE lesson DROP CONSTRAINT broken"))

    await send(school, event)

    assert (broken.status_code, stored) == (409, 0)
    assert (await outcome(school, story))["lesson.mux_asset_id"] == story.asset_id


# In any order


def five_of(story: Story, last: str) -> list[dict[str, Any]]:
    five = {
        "ready": [story.of_upload("created"), story.asset_created(), story.of_asset("created"), story.ready()],
        "errored": [
            story.of_upload("created"),
            story.asset_created(),
            story.of_asset("created"),
            story.of_upload("errored", error={"type": "invalid_input", "message": "Not a video."}),
        ],
    }
    broken = {"type": "invalid_input", "messages": ["The file is broken."]}
    fifth = {
        "ready": story.of_asset("errored", errors=broken),
        "deleted": story.of_asset("deleted"),
        "errored": story.of_asset("errored", errors=broken),
    }
    return [*five["errored" if last == "errored" else "ready"], fifth[last]]


@pytest.mark.parametrize(("last", "has_passthrough"), [("ready", True), ("errored", True), ("deleted", False)])
async def test_all_orders_of_five_events_end_alike(school: School, last: str, has_passthrough: bool) -> None:
    """120 orders each: a video that is ready (and an old error comes too), one that failed twice, one that was deleted.

    Without passthrough an event is known by Mux's ids alone, and may have to wait for the one that links them.
    """
    [lesson] = await school.lessons_of(await school.world(lessons=1))
    story = await begin(school, lesson)
    events = five_of(story, last)
    if not has_passthrough:
        events = [without_passthrough(event) for event in events]
    outcomes = []

    for order in permutations(events):
        await send(school, *order)
        outcomes.append(await outcome(school, story))
        await rewind(school, story)

    plays = last == "ready"
    assert len(outcomes) == 120
    assert [one for one in outcomes if one != outcomes[0]] == []
    assert outcomes[0]["status"] == last
    assert outcomes[0]["lesson.mux_asset_id"] == (story.asset_id if plays else None)
    assert outcomes[0]["lesson.mux_playback_id"] == (story.playback_id if plays else None)
    assert outcomes[0]["unapplied"] == 0


def without_passthrough(event: dict[str, Any]) -> dict[str, Any]:
    data = {name: value for name, value in event["data"].items() if name not in {"passthrough", "new_asset_settings"}}
    # An asset's own events do not name the upload either: only `asset_created` links the two.
    if event["object"]["type"] == "asset":
        del data["upload_id"]
    return event | {"data": data}


async def rewind(school: School, story: Story) -> None:
    """Back to before the first event."""
    unknown = dict.fromkeys(("asset_id", "playback_id", "duration_seconds", "error"))
    start = unknown | {"status": VideoStatus.WAITING, "ask_at": START}
    async with school.sessions.begin() as session:
        await session.execute(sa.update(VideoUpload).where(VideoUpload.id == story.upload.id).values(start))
        video = dict.fromkeys(("mux_playback_id", "mux_asset_id", "duration_seconds"))
        await session.execute(sa.update(Lesson).where(Lesson.id == story.lesson.id).values(video))
        await session.execute(sa.delete(WebhookEvent))
        await session.execute(sa.delete(PendingDeletion))


async def held_up(school: School, task: asyncio.Task[Any]) -> None:
    """Wait until a request waits for a lock of another transaction, or is over."""
    waiting = sa.text("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'")
    async with school.sessions() as session:
        while not task.done() and not await session.scalar(waiting):
            pass


async def test_events_that_only_together_say_whose_they_are_find_each_other(school: School, story: Story) -> None:
    """Neither may miss the other, though both are received at the same moment."""
    ready, linking = without_passthrough(story.ready()), without_passthrough(story.asset_created())

    async with school.sessions.begin() as session:
        body = msgspec.json.encode(linking)
        await WebhookService(session, START).receive(read_event(body), body)
        other = asyncio.create_task(send(school, ready))
        await held_up(school, other)
    await other

    found = await outcome(school, story)
    assert (found["status"], found["unapplied"]) == (VideoStatus.READY, 0)


async def test_what_mux_answers_and_what_it_tells_at_once_add_up(school: School) -> None:
    """An event that is received while an answer is being stored moves nothing back."""
    upload = VideoUpload(mux_upload_id=f"up{uuid4().hex}", updated_at=START, expires_at=START, ask_at=START)
    await school.add(upload)
    event = {"type": "video.upload.asset_created", "id": "e1", "data": {"id": upload.mux_upload_id, "asset_id": "as1"}}

    async with school.sessions.begin() as session:
        await learn(session, upload.id, VideoUpdate(VideoStatus.READY, asset_id="as1", playback_id="pb1"), START)
        other = asyncio.create_task(send(school, event))
        await held_up(school, other)
    await other

    assert await school.scalar(sa.select(VideoUpload.status)) == VideoStatus.READY


async def test_an_event_of_another_asset_with_our_passthrough_is_not_ours(school: School, story: Story) -> None:
    """Such as a clip that someone made of the asset at Mux."""
    await send(school, story.ready())
    before = await outcome(school, story)
    clip = Story(story.lesson, story.upload)

    await send(school, clip.of_asset("deleted"), clip.ready())

    assert await outcome(school, story) == before | {"unapplied": 2}


# What follows for the lesson


async def test_the_old_video_plays_until_the_new_one_is_ready_and_then_goes(school: School) -> None:
    old = await begin(school)
    await send(school, old.ready())
    new = await begin(school, old.lesson)
    await send(school, new.asset_created(), new.of_asset("created"))
    meanwhile = await outcome(school, new)

    await send(school, new.ready())

    assert meanwhile["lesson.mux_asset_id"] == old.asset_id
    assert (await outcome(school, new))["lesson.mux_asset_id"] == new.asset_id
    assert await pending(school) == {(DeletionKind.ASSET, old.asset_id)}


async def test_a_late_event_of_the_old_video_does_not_bring_it_back(school: School) -> None:
    old = await begin(school)
    await send(school, old.ready())
    new = await begin(school, old.lesson)
    await send(school, new.ready())

    await send(school, old.ready(), old.of_asset("created"), old.of_asset("deleted"))

    assert (await outcome(school, new))["lesson.mux_asset_id"] == new.asset_id


async def test_a_video_that_was_cleared_does_not_come_back_with_more_news_of_it(school: School, story: Story) -> None:
    await send(school, story.ready(duration=None))
    await (await school.admin()).patch(f"/api/admin/lessons/{story.lesson.id}", {"delete_video": True})

    await send(school, story.ready())

    found = await outcome(school, story)
    assert (found["duration_seconds"], found["lesson.mux_asset_id"]) == (61.2, None)


async def test_a_video_that_failed_and_recovers_late_does_not_replace_a_newer_one(
    school: School, mux: MuxEmulator
) -> None:
    old = await begin(school)
    await send(school, old.of_asset("errored"))
    admin = await school.admin()
    await admin.post("/api/mux/upload-url", {"lesson_id": str(old.lesson.id)})
    new = Story(old.lesson, await school.scalar(sa.select(VideoUpload).order_by(VideoUpload.id.desc())))
    await send(school, new.ready())

    await send(school, old.ready())

    assert (await outcome(school, new))["lesson.mux_asset_id"] == new.asset_id


async def test_a_video_that_was_deleted_at_mux_leaves_its_lesson(school: School, story: Story) -> None:
    await send(school, story.ready())

    await send(school, story.of_asset("deleted"))

    found = await outcome(school, story)
    assert (found["lesson.mux_playback_id"], found["lesson.mux_asset_id"]) == (None, None)


async def test_a_video_that_came_before_uploads_were_kept_leaves_its_lesson_too(school: School) -> None:
    [lesson] = await school.lessons_of(await school.world(lessons=1))
    async with school.sessions.begin() as session:
        values = {"mux_asset_id": "oldasset", "mux_playback_id": "oldplayback"}
        await session.execute(sa.update(Lesson).where(Lesson.id == lesson.id).values(values))
    story = Story(lesson, VideoUpload(id=uuid4(), mux_upload_id="unknown"))
    story.asset_id = "oldasset"

    await send(school, story.of_asset("deleted"))

    assert await school.scalar(sa.select(Lesson.mux_playback_id).where(Lesson.id == lesson.id)) is None


async def test_an_event_and_the_deletion_of_its_course_do_not_wait_for_each_other(school: School, story: Story) -> None:
    """A deletion locks the course, then the lesson, then the upload; whoever went another way would meet it halfway."""
    async with school.sessions.begin() as session:
        await session.execute(sa.select(World).where(World.id == story.lesson.world_id).with_for_update())
        await session.execute(sa.select(Lesson).where(Lesson.id == story.lesson.id).with_for_update())
        event = asyncio.create_task(deliver(school.client, msgspec.json.encode(story.ready())))
        await held_up(school, event)
        await session.execute(sa.select(VideoUpload).where(VideoUpload.id == story.upload.id).with_for_update())

    assert (await event).status_code == 200


async def pending(school: School) -> set[tuple[DeletionKind, str]]:
    """What is noted for deletion."""
    async with school.sessions() as session:
        rows = await session.execute(sa.select(PendingDeletion.kind, PendingDeletion.name))
        return {(kind, name) for kind, name in rows}
