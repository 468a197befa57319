"""Uploads of videos as browsers and Mux make them, and the events that Mux sends about them."""

import asyncio
import hmac
from typing import Any
from uuid import uuid4

import httpx
import msgspec
import sqlalchemy as sa

from conftest import START
from factories import Caller, School
from mambo.courses.models import Lesson
from mambo.devkit.mux import MuxEmulator
from mambo.devkit.mux_webhooks import Faults
from mambo.videos.models import VideoUpload
from support.media import MUX_SECRET, TOKEN

FILE = b"a dance " * 1000
NOW = int(START.timestamp())
WEBHOOK = "/api/mux/webhook"


async def begin(school: School) -> tuple[Caller, Lesson]:
    """Create an admin, and a lesson without a video."""
    [lesson] = await school.lessons_of(await school.world(lessons=1))
    return await school.admin(), lesson


async def start_upload(admin: Caller, lesson: Lesson) -> dict[str, Any]:
    response = await admin.post("/api/mux/upload-url", {"lesson_id": str(lesson.id), "filename": "basic step.mp4"})
    assert response.status_code == 200, response.text
    started: dict[str, Any] = response.json()
    return started


async def put_file(url: str, content: bytes = FILE, **headers: str) -> httpx.Response:
    """Send a file to Mux, as the browser does."""
    async with httpx.AsyncClient() as browser:
        return await browser.put(url, content=content, headers=headers)


async def settle(mux: MuxEmulator) -> None:
    """Wait until Mux has processed its files, and all webhooks have a response."""
    await asyncio.to_thread(mux.settle)


async def get_status(admin: Caller, lesson: Lesson) -> dict[str, Any]:
    response = await admin.post("/api/mux/check-upload-status", {"lesson_id": str(lesson.id)})
    assert response.status_code == 200, response.text
    state: dict[str, Any] = response.json()
    return state


async def create_video(school: School, mux: MuxEmulator) -> tuple[Caller, Lesson, str]:
    """Create an admin, and a lesson with a ready video; return them and the asset's id."""
    admin, lesson = await begin(school)
    await put_file((await start_upload(admin, lesson))["upload_url"])
    await settle(mux)
    return admin, lesson, (await get_status(admin, lesson))["asset_id"]


async def create_lost_video(school: School, mux: MuxEmulator) -> tuple[Caller, Lesson]:
    """Create an admin, and a lesson whose video is ready at Mux, but whose events were lost."""
    admin, lesson = await begin(school)
    mux.faults = Faults(lose_webhooks=None)
    await put_file((await start_upload(admin, lesson))["upload_url"])
    await settle(mux)
    mux.faults = Faults()
    mux.requests.clear()
    return admin, lesson


async def get_uploads(school: School) -> list[VideoUpload]:
    async with school.sessions() as session:
        return list(await session.scalars(sa.select(VideoUpload).order_by(VideoUpload.id)))


async def call_mux(mux: MuxEmulator, path: str, method: str = "GET", json: Any = None) -> Any:
    """Call Mux directly, and return the data of its response; None if it does not know the id."""
    async with httpx.AsyncClient(base_url=f"{mux.url}/video/v1", auth=TOKEN) as client:
        response = await client.request(method, path, json=json)
        return None if response.status_code == 404 else response.json()["data"]


def sign(body: bytes, secret: str = MUX_SECRET, at: int = NOW) -> str:
    """Return the `Mux-Signature` header of a webhook."""
    digest = hmac.digest(secret.encode(), b"%d." % at + body, "sha256").hex()
    return f"t={at},v1={digest}"


async def deliver(
    client: httpx.AsyncClient, body: bytes, header: str | None = None, to: str = WEBHOOK
) -> httpx.Response:
    return await client.post(to, content=body, headers={"Mux-Signature": header or sign(body)})


async def send(school: School, *events: dict[str, Any]) -> None:
    """Deliver events one after another; each is accepted."""
    for event in events:
        response = await deliver(school.client, msgspec.json.encode(event))
        assert (response.status_code, response.json()) == (200, {"status": "ok"}), response.text


class Video:
    """The events that Mux sends about one upload for a lesson, and the video that is created from it."""

    def __init__(self, lesson: Lesson, upload: VideoUpload) -> None:
        self.lesson, self.upload = lesson, upload
        self.upload_id, self.asset_id, self.playback_id = upload.mux_upload_id, f"as{uuid4().hex}", f"pb{uuid4().hex}"

    def upload_event(self, what: str, **data: Any) -> dict[str, Any]:
        settings = {"passthrough": str(self.upload.id), "playback_policies": ["public"]}
        about = {"type": "upload", "id": self.upload_id}
        data = {"id": self.upload_id, "status": what, "new_asset_settings": settings} | data
        return {"type": f"video.upload.{what}", "id": str(uuid4()), "object": about, "data": data}

    def asset_event(self, what: str, **data: Any) -> dict[str, Any]:
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
        return self.asset_event("ready", **{"status": "ready", "duration": 61.2} | data)

    def asset_created(self) -> dict[str, Any]:
        return self.upload_event("asset_created", asset_id=self.asset_id)
