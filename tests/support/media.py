"""An app with a real S3 server for images, and the Mux emulator, which sends its webhooks over HTTP.

A folder of tests uses it by overriding `settings` and `app` in its conftest.
"""

import asyncio
import base64
import socket
from collections.abc import AsyncIterator, Iterator
from datetime import datetime
from typing import Any, NamedTuple

import httpx
import msgspec
import pytest
import sqlalchemy as sa
import uvicorn
from asgi_lifespan import LifespanManager
from litestar import Litestar
from msgspec.structs import replace

from conftest import TurnableClock
from factories import Caller, School
from mambo.app import create_app, maintenance_of
from mambo.deletions.models import DeletionKind, PendingDeletion
from mambo.devkit.mux import MuxEmulator, mux_emulator
from mambo.devkit.mux_webhooks import Faults
from mambo.devkit.storage import StorageSettings, embedded_storage
from mambo.errors import MamboError
from mambo.images.rules import ImageType
from mambo.jobs.queue import name_of
from mambo.limits.rules import Rate
from mambo.maintenance.jobs import handlers_of
from mambo.maintenance.service import MaintenanceService
from mambo.settings import Settings

ORIGIN = "https://app.mambo.example"
MUX_SECRET = "a-secret-that-only-mux-and-we-know"
OLD_MUX_SECRET = "the-secret-before-that-one"
TOKEN = ("mux-token-id", "mux-token-secret")
# Where an image can be set: the path of the object, and the field.
PLACES: dict[str, tuple[str, str]] = {
    "a course": ("/api/admin/courses/{course}", "thumbnail_url"),
    "a course's large image": ("/api/admin/courses/{course}", "image_url"),
    "a lesson": ("/api/admin/lessons/{lesson}", "thumbnail_url"),
}
PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg=="
)
IMAGES: dict[ImageType, bytes] = {
    "image/jpeg": b"\xff\xd8\xff\xe0\x00\x10JFIF\x00\x01\x01\x00\x00\x01\x00\x01\x00\x00",
    "image/png": PNG,
    "image/webp": b"RIFF\x24\x00\x00\x00WEBPVP8 \x18\x00\x00\x00",
    "image/gif": base64.b64decode("R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7"),
    "image/avif": b"\x00\x00\x00\x1cftypavif\x00\x00\x00\x00avifmif1miaf",
}
SVG = b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>'


@pytest.fixture(scope="session")
def storage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StorageSettings]:
    with embedded_storage(tmp_path_factory.mktemp("storage")) as storage:
        yield storage


@pytest.fixture(scope="session")
def emulator(clock: TurnableClock) -> Iterator[MuxEmulator]:
    with mux_emulator(
        token_id=TOKEN[0],
        token_secret=TOKEN[1],
        webhook_secret=MUX_SECRET,
        webhook_url="http://127.0.0.1:9/not-yet",
        processing_seconds=0.01,
        clock=clock,
    ) as emulator:
        yield emulator


@pytest.fixture
async def mux(emulator: MuxEmulator, school: School) -> AsyncIterator[MuxEmulator]:
    """The emulator, without faults; its last event arrives before the school's rows are deleted."""
    del school
    emulator.faults = Faults()
    emulator.requests.clear()
    yield emulator
    emulator.faults = Faults()
    await asyncio.to_thread(emulator.settle)


@pytest.fixture(scope="session")
def media_settings(base_settings: Settings, storage: StorageSettings, emulator: MuxEmulator) -> Settings:
    return replace(
        base_settings,
        limits=dict.fromkeys(base_settings.limits, Rate(10_000, 3600)),
        cors_origins=(ORIGIN, "https://admin.mambo.example"),
        aws_access_key_id=storage.access_key_id,
        aws_secret_access_key=storage.secret_access_key,
        aws_endpoint_url=storage.endpoint_url,
        aws_bucket_name=storage.bucket_name,
        r2_public_domain=storage.public_domain,
        mux_token_id=TOKEN[0],
        mux_token_secret=TOKEN[1],
        mux_webhook_secret=f"{MUX_SECRET}, {OLD_MUX_SECRET}",
        mux_api_url=emulator.url,
    )


@pytest.fixture(scope="session")
async def media_app(media_settings: Settings, clock: TurnableClock, emulator: MuxEmulator) -> AsyncIterator[Litestar]:
    """The app, also served over HTTP for the emulator's webhooks."""
    app = create_app(media_settings, clock=clock, runs_jobs=False, memory_seconds=0)
    server = uvicorn.Server(uvicorn.Config(app, lifespan="off", log_config=None, access_log=False))
    async with LifespanManager(app):  # type: ignore[arg-type]
        with socket.create_server(("127.0.0.1", 0)) as listener:
            emulator.webhook_url = f"http://127.0.0.1:{listener.getsockname()[1]}/api/mux/webhook"
            serving = asyncio.create_task(server.serve([listener]))
            yield app
            server.should_exit = True
            await serving


@pytest.fixture
async def maintenance(app: Litestar, school: School) -> AsyncIterator[MaintenanceService]:
    """The background work of the app, which runs only when a test calls it; the queue is empty before and after."""
    await take_jobs(school)
    yield maintenance_of(app.state.resources)
    await take_jobs(school)


class Outcome(NamedTuple):
    """The number of jobs that succeeded, and the sentence of each that failed."""

    done: int
    failures: list[str]


async def run_deletions(school: School, maintenance: MaintenanceService) -> Outcome:
    """Queue the deletions that are due, and run each job of the queue once."""
    await maintenance.queue_deletions()
    return await run_jobs(school, maintenance)


async def run_checks(school: School, maintenance: MaintenanceService) -> Outcome:
    """Queue the checks that are due, and run each job of the queue once."""
    await maintenance.queue_checks()
    return await run_jobs(school, maintenance)


async def run_jobs(school: School, maintenance: MaintenanceService) -> Outcome:
    handlers = {name_of(handler.job): handler for handler in handlers_of(maintenance)}
    done, failures = 0, []
    for name, payload in await take_jobs(school):
        handler = handlers[name]
        try:
            await handler.run(msgspec.json.decode(payload, type=handler.job))
            done += 1
        except MamboError as error:
            failures.append(error.detail)
    return Outcome(done, failures)


async def take_jobs(school: School) -> list[tuple[str, bytes]]:
    """Remove all jobs from the queue; return the name and payload of each."""
    async with school.sessions.begin() as session:
        await session.execute(sa.text("DELETE FROM jobs.log"))
        jobs = await session.execute(sa.text("DELETE FROM jobs.queue RETURNING id, entrypoint, payload"))
        return [(name, payload) for _, name, payload in sorted(jobs)]


class ImageClient:
    """Uploads images as a browser does, and downloads them as anyone can."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self.client = client

    async def put(self, presigned: dict[str, Any], content: bytes = PNG, **changes: Any) -> httpx.Response:
        request = {"url": presigned["upload_url"], "headers": presigned["headers"], "content": content}
        return await self.client.put(**request | changes)

    async def upload(self, caller: Caller, folder: str = "thumbnails", content: bytes = PNG) -> str:
        """Upload an image without declaring its length; return its public URL."""
        response = await presign(caller, folder)
        assert response.status_code == 200, response.text
        assert (await self.put(response.json(), content)).status_code == 200
        url: str = response.json()["public_url"]
        return url

    async def exists(self, *urls: str) -> list[bool]:
        """Return which of the public URLs can be downloaded."""
        return [(await self.client.get(url)).status_code == 200 for url in urls]


@pytest.fixture(scope="session")
async def images() -> AsyncIterator[ImageClient]:
    async with httpx.AsyncClient() as client:
        yield ImageClient(client)


async def presign(caller: Caller, folder: str = "thumbnails", **fields: Any) -> httpx.Response:
    return await caller.post("/api/uploads/presigned-url", {"file_type": "image/png", "folder": folder} | fields)


async def fetch(school: School, query: str) -> Any:
    """Return the first value of a query in SQL."""
    async with school.sessions() as session:
        return await session.scalar(sa.text(query))


async def pending_deletions(school: School) -> set[tuple[DeletionKind, str]]:
    async with school.sessions() as session:
        rows = await session.execute(sa.select(PendingDeletion.kind, PendingDeletion.name))
        return {(kind, name) for kind, name in rows}


async def make_due(school: School, *names: str, locked_until: datetime | None = None) -> None:
    """Make the deletion of these objects due now."""
    async with school.sessions.begin() as session:
        await session.execute(
            sa.update(PendingDeletion)
            .where(PendingDeletion.name.in_(names))
            .values(due_at=sa.func.now(), queued_at=None, locked_until=locked_until)
        )


async def place_in(school: School, place: str) -> tuple[str, str]:
    """Return the path of a new course or lesson, and its field for an image."""
    course = await school.world(lessons=1)
    [lesson] = await school.lessons_of(course)
    path, field = PLACES[place]
    return path.format(course=course.id, lesson=lesson.id), field
