"""An app with a real S3 server for images, and the Mux emulator, which sends its webhooks over HTTP.

A folder of tests uses it by overriding `settings` and `app` in its conftest.
"""

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator

import pytest
import uvicorn
from asgi_lifespan import LifespanManager
from litestar import Litestar
from msgspec.structs import replace

from conftest import TurnableClock
from factories import School
from mambo.app import create_app
from mambo.devkit.mux import MuxEmulator, mux_emulator
from mambo.devkit.mux_webhooks import Faults
from mambo.devkit.storage import StorageSettings, embedded_storage
from mambo.limits.rules import Rate
from mambo.settings import Settings

ORIGIN = "https://app.mambo.example"
MUX_SECRET = "a-secret-that-only-mux-and-we-know"
OLD_MUX_SECRET = "the-secret-before-that-one"
TOKEN = ("mux-token-id", "mux-token-secret")


@pytest.fixture(scope="session")
def storage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StorageSettings]:
    with embedded_storage(tmp_path_factory.mktemp("pictures")) as storage:
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
    """The emulator, without faults; its last event has come before the school's rows go."""
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
    app = create_app(media_settings, clock=clock, upkeep_seconds=None, memory_seconds=0)
    server = uvicorn.Server(uvicorn.Config(app, lifespan="off", log_config=None, access_log=False))
    async with LifespanManager(app):  # type: ignore[arg-type]
        with socket.create_server(("127.0.0.1", 0)) as listener:
            emulator.webhook_url = f"http://127.0.0.1:{listener.getsockname()[1]}/api/mux/webhook"
            serving = asyncio.create_task(server.serve([listener]))
            yield app
            server.should_exit = True
            await serving
