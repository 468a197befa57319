"""The Mux emulator, called by the SDK of Mux and over HTTP: its behaviour, and the faults that it simulates."""

import asyncio
import hashlib
import hmac
import json
import re
import ssl
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, closing, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import mux_python
import pytest
import urllib3

from conftest import START, TurnableClock
from mambo.devkit.mux import Faults, MuxEmulator, RestFault, mux_emulator

MuxError = mux_python.exceptions.ApiException
TOKEN = httpx.BasicAuth("token-id", "token-secret")
NOW = int(START.timestamp())
SECRET = "webhook-secret"
ORIGIN = "https://app.mambo.example"
PATIENCE_SECONDS = 10
NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # to create the default context takes longer
CHUNK = 256 * 1024
NEW_UPLOAD = {
    "cors_origin": ORIGIN,
    "new_asset_settings": {"playback_policies": ["signed"], "passthrough": "lesson-1", "meta": {"title": "Básico ♥"}},
}


class Received(NamedTuple):
    """A received webhook."""

    body: bytes
    signature: str

    @property
    def event(self) -> Any:
        return json.loads(self.body)


class Receiver:
    """A server that receives webhooks.

    `statuses` are the next responses, None closes the connection; the default is 204.
    """

    def __init__(self) -> None:
        self.url = ""
        self.statuses: list[int | None] = []
        self.received: list[Received] = []
        self.arrived = asyncio.Event()

    @property
    def types(self) -> list[str]:
        return [received.event["type"] for received in self.received]

    async def wait_for(self, is_wanted: Callable[[Received], bool]) -> None:
        """Wait until a matching webhook has arrived."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not any(is_wanted(received) for received in self.received):
                self.arrived.clear()
                await self.arrived.wait()

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        [length] = re.findall(r"(?im)^content-length: (\d+)", head)
        [signature] = re.findall(r"(?im)^mux-signature: (.+?)\r", head)
        self.received.append(Received(await reader.readexactly(int(length)), signature))
        status = self.statuses.pop(0) if self.statuses else 204
        if status is not None:
            writer.write(b"HTTP/1.1 %d -\r\nContent-Length: 0\r\nConnection: close\r\n\r\n" % status)
        writer.close()
        await writer.wait_closed()
        self.arrived.set()


class Sdk:
    """The SDK mux-python in threads, as an asynchronous program calls it."""

    def __init__(self, url: str, user: str = "token-id") -> None:
        configuration = mux_python.Configuration(host=url, username=user, password="token-secret")
        configuration.retries = False
        self.client = mux_python.ApiClient(configuration)
        self.uploads, self.assets = mux_python.DirectUploadsApi(self.client), mux_python.AssetsApi(self.client)

    async def create(self, body: Any = NEW_UPLOAD, **options: Any) -> Any:
        return (await asyncio.to_thread(self.uploads.create_direct_upload, body, **options)).data

    async def upload(self, upload_id: str) -> Any:
        return (await asyncio.to_thread(self.uploads.get_direct_upload, upload_id)).data

    async def asset(self, asset_id: str) -> Any:
        return (await asyncio.to_thread(self.assets.get_asset, asset_id)).data

    async def list(self, **filters: Any) -> Any:
        return await asyncio.to_thread(self.assets.list_assets, **filters)

    def close(self) -> None:
        self.client.rest_client.pool_manager.clear()


@asynccontextmanager
async def run_receiver() -> AsyncIterator[Receiver]:
    receiver = Receiver()
    async with await asyncio.start_server(receiver.handle, "127.0.0.1") as server:
        receiver.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/webhooks"
        yield receiver


@contextmanager
def run_emulator(webhook_url: str, **options: Any) -> Iterator[MuxEmulator]:
    with mux_emulator(
        token_id="token-id",
        token_secret="token-secret",
        webhook_secret=SECRET,
        webhook_url=webhook_url,
        **{"processing_seconds": 0.01, **options},
    ) as mux:
        yield mux


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with run_receiver() as receiver:
        yield receiver


@pytest.fixture(scope="module")
def clock() -> TurnableClock:
    return TurnableClock()


@pytest.fixture(scope="module")
def emulator(clock: TurnableClock) -> Iterator[MuxEmulator]:
    with run_emulator("", clock=clock) as mux:
        yield mux


@pytest.fixture
async def mux(emulator: MuxEmulator, receiver: Receiver, clock: TurnableClock) -> AsyncIterator[MuxEmulator]:
    """The emulator of this module without faults and requests; a new one for each test would be slow."""
    emulator.webhook_url, emulator.faults, clock.now = receiver.url, Faults(), START
    emulator.requests.clear()
    emulator.deliveries.clear()
    yield emulator
    await settle(emulator)


@pytest.fixture
def sdk(mux: MuxEmulator) -> Iterator[Sdk]:
    with closing(Sdk(mux.url)) as sdk:
        yield sdk


@pytest.fixture
async def browser(mux: MuxEmulator) -> AsyncIterator[httpx.AsyncClient]:
    """A client with the origin of the upload."""
    async with httpx.AsyncClient(base_url=mux.url, verify=NO_TLS, headers={"Origin": ORIGIN}) as browser:
        yield browser


async def settle(mux: MuxEmulator) -> None:
    await asyncio.to_thread(mux.settle)


async def put_chunk(browser: httpx.AsyncClient, url: str, start: int, end: int, total: int) -> httpx.Response:
    headers = {"Content-Range": f"bytes {start}-{end - 1}/{total}"}
    return await browser.put(url, content=b"v" * (end - start), headers=headers)


# From an upload to an asset


async def test_an_uploaded_file_becomes_a_ready_asset(mux: MuxEmulator, sdk: Sdk, browser: httpx.AsyncClient) -> None:
    upload = await sdk.create()
    response = await browser.put(upload.url, content=b"video")
    await settle(mux)

    assert upload.status == "waiting"
    assert response.status_code == 200
    done = await sdk.upload(upload.id)
    assert (done.status, done.url, done.new_asset_settings.passthrough) == ("asset_created", None, "lesson-1")
    asset = await sdk.asset(done.asset_id)
    assert (asset.status, asset.upload_id, asset.passthrough) == ("ready", upload.id, "lesson-1")
    assert (asset.aspect_ratio, asset.duration > 0, len(asset.tracks)) == ("16:9", True, 2)
    assert [playback_id.policy for playback_id in asset.playback_ids] == ["signed"]


async def test_an_asset_is_preparing_until_it_is_processed(receiver: Receiver) -> None:
    with run_emulator(receiver.url, processing_seconds=60) as mux, closing(Sdk(mux.url)) as sdk:
        upload = await sdk.create()
        async with httpx.AsyncClient(verify=NO_TLS) as browser:
            await browser.put(upload.url, content=b"video")
        [asset] = (await sdk.list(upload_id=upload.id)).data

    assert (asset.status, asset.duration, asset.tracks) == ("preparing", None, None)


async def test_every_step_sends_a_webhook_in_the_format_of_mux(
    mux: MuxEmulator, sdk: Sdk, browser: httpx.AsyncClient, receiver: Receiver
) -> None:
    """`created_at` is a number in webhooks of assets; `passthrough` is nested in uploads, and not in assets."""
    upload = await sdk.create()
    await browser.put(upload.url, content=b"video")
    await settle(mux)

    events = {received.event["type"]: received.event for received in receiver.received}
    asset_id = (await sdk.upload(upload.id)).asset_id
    assert {name: event["object"] for name, event in events.items()} == {
        "video.upload.created": {"type": "upload", "id": upload.id},
        "video.upload.asset_created": {"type": "upload", "id": upload.id},
        "video.asset.created": {"type": "asset", "id": asset_id},
        "video.asset.ready": {"type": "asset", "id": asset_id},
    }
    assert len({event["id"] for event in events.values()}) == 4
    for event in events.values():
        assert {"environment", "data", "attempts", "request_id", "accessor", "accessor_source"} <= event.keys()
        assert re.fullmatch(r"2026-03-02T12:00:00\.\d{6}Z", event["created_at"])
    assert events["video.upload.asset_created"]["data"]["asset_id"] == asset_id
    assert events["video.upload.created"]["data"]["new_asset_settings"] == NEW_UPLOAD["new_asset_settings"]
    assert events["video.asset.created"]["data"]["status"] == "preparing"
    assert events["video.asset.ready"]["data"]["passthrough"] == "lesson-1"
    in_rest = (await browser.get(f"/video/v1/assets/{asset_id}", auth=TOKEN)).json()["data"]
    assert (events["video.asset.ready"]["data"]["created_at"], in_rest["created_at"]) == (NOW, str(NOW))


async def test_a_webhook_is_signed(mux: MuxEmulator, sdk: Sdk, receiver: Receiver) -> None:
    """With the HMAC-SHA256 of `t.body`, as Mux documents it; the body is not ASCII only."""
    await sdk.create()
    await settle(mux)

    [(body, signature)] = receiver.received
    assert "Básico ♥".encode() in body
    expected = hmac.new(SECRET.encode(), f"{NOW}.".encode() + body, hashlib.sha256).hexdigest()
    assert signature == f"t={NOW},v1={expected}"


async def test_a_refused_webhook_is_retried_with_the_failed_attempt(
    mux: MuxEmulator, sdk: Sdk, receiver: Receiver
) -> None:
    """It has the same id; the attempt is added to the body, so the signature changes."""
    receiver.statuses = [503]
    await sdk.create()
    await settle(mux)

    first, second = receiver.received
    assert first.event["id"] == second.event["id"]
    assert first.event["attempts"] == []
    [attempt] = second.event["attempts"]
    assert (attempt["response_status_code"], attempt["address"]) == (503, receiver.url)
    assert first.signature != second.signature
    assert [delivery.status for delivery in mux.deliveries] == [503, 204]


async def test_a_webhook_without_a_response_is_retried(mux: MuxEmulator, sdk: Sdk, receiver: Receiver) -> None:
    receiver.statuses = [None]
    await sdk.create()
    await settle(mux)

    assert [delivery.status for delivery in mux.deliveries] == [None, 204]


async def test_webhooks_wait_for_the_url_of_the_receiver(mux: MuxEmulator, sdk: Sdk, receiver: Receiver) -> None:
    mux.webhook_url = ""
    await sdk.create()
    mux.webhook_url = receiver.url
    await settle(mux)

    assert receiver.types == ["video.upload.created"]


# Chunks, as UpChunk sends them


async def test_chunks_can_be_repeated(mux: MuxEmulator, sdk: Sdk, browser: httpx.AsyncClient) -> None:
    """A browser repeats a chunk when the response is lost; there is one asset."""
    upload = await sdk.create()
    total = CHUNK + 1000
    first, again = [await put_chunk(browser, upload.url, 0, CHUNK, total) for _ in range(2)]
    last, last_again = [await put_chunk(browser, upload.url, CHUNK, total, total) for _ in range(2)]
    await settle(mux)

    for response in (first, again):
        assert (response.status_code, response.headers["range"]) == (308, f"bytes=0-{CHUNK - 1}")
    assert (last.status_code, last_again.status_code) == (200, 200)
    assert len((await sdk.list(upload_id=upload.id)).data) == 1


async def test_the_response_to_a_misplaced_chunk_has_the_range_so_far(sdk: Sdk, browser: httpx.AsyncClient) -> None:
    upload = await sdk.create()
    first_gap = await put_chunk(browser, upload.url, CHUNK, 2 * CHUNK, 3 * CHUNK)
    await put_chunk(browser, upload.url, 0, CHUNK, 3 * CHUNK)
    second_gap = await put_chunk(browser, upload.url, 2 * CHUNK, 3 * CHUNK, 3 * CHUNK)

    assert (first_gap.status_code, first_gap.headers.get("range")) == (308, None)
    assert (second_gap.status_code, second_gap.headers["range"]) == (308, f"bytes=0-{CHUNK - 1}")
    assert (await sdk.upload(upload.id)).status == "waiting"


async def test_multiples_of_256_kib_of_a_chunk_are_kept(sdk: Sdk, browser: httpx.AsyncClient) -> None:
    upload = await sdk.create()
    response = await put_chunk(browser, upload.url, 0, CHUNK + 5, 3 * CHUNK)

    assert (response.status_code, response.headers["range"]) == (308, f"bytes=0-{CHUNK - 1}")


async def test_an_interrupted_upload_can_be_repeated(sdk: Sdk, browser: httpx.AsyncClient) -> None:
    upload = await sdk.create()
    url = httpx.URL(upload.url)
    reader, writer = await asyncio.open_connection(url.host, url.port)
    head = b"PUT %b HTTP/1.1\r\nHost: mux\r\nExpect: 100-continue\r\nContent-Length: 1000\r\n\r\nvid" % url.raw_path
    writer.write(head)
    await reader.readuntil(b"100 Continue")
    writer.close()
    await writer.wait_closed()
    again = await browser.put(upload.url, content=b"video")

    assert again.status_code == 200


async def test_an_upload_reports_the_range_so_far(sdk: Sdk, browser: httpx.AsyncClient) -> None:
    upload = await sdk.create()
    headers = {"Content-Range": f"bytes */{2 * CHUNK}"}
    before = await browser.put(upload.url, headers=headers)
    await put_chunk(browser, upload.url, 0, CHUNK, 2 * CHUNK)
    half = await browser.put(upload.url, headers=headers)
    await put_chunk(browser, upload.url, CHUNK, 2 * CHUNK, 2 * CHUNK)
    complete = await browser.put(upload.url, headers=headers)

    assert (before.status_code, before.headers.get("range")) == (308, None)
    assert (half.status_code, half.headers["range"]) == (308, f"bytes=0-{CHUNK - 1}")
    assert complete.status_code == 200


@pytest.mark.parametrize("content_range", ["bytes 0-9/10", "bytes 0-4/3", "bytes=0-4/5", "bytes 0-4/*", "5"])
async def test_a_range_that_does_not_fit_the_body_is_refused(
    sdk: Sdk, browser: httpx.AsyncClient, content_range: str
) -> None:
    upload = await sdk.create()
    response = await browser.put(upload.url, content=b"video", headers={"Content-Range": content_range})

    assert response.status_code == 400
    assert (await sdk.upload(upload.id)).status == "waiting"


# Failed, cancelled and deleted


async def test_an_empty_file_is_an_error(
    mux: MuxEmulator, sdk: Sdk, browser: httpx.AsyncClient, receiver: Receiver
) -> None:
    upload = await sdk.create()
    await browser.put(upload.url, content=b"")
    await settle(mux)

    failed = await sdk.upload(upload.id)
    assert (failed.status, failed.asset_id, failed.error.type) == ("errored", None, "invalid_input")
    assert failed.error.message == "The file is not a valid video file."
    assert sorted(receiver.types) == ["video.upload.created", "video.upload.errored"]


async def test_a_cancelled_upload_accepts_no_file(
    mux: MuxEmulator, sdk: Sdk, browser: httpx.AsyncClient, receiver: Receiver
) -> None:
    upload = await sdk.create()
    cancelled = await asyncio.to_thread(sdk.uploads.cancel_direct_upload, upload.id)
    response = await browser.put(upload.url, content=b"video")
    await settle(mux)

    assert cancelled.data.status == "cancelled"
    assert response.status_code == 410
    assert sorted(receiver.types) == ["video.upload.cancelled", "video.upload.created"]


async def test_a_completed_upload_cannot_be_cancelled(sdk: Sdk, browser: httpx.AsyncClient) -> None:
    upload = await sdk.create()
    await browser.put(upload.url, content=b"video")
    with pytest.raises(mux_python.exceptions.ForbiddenException) as refused:
        await asyncio.to_thread(sdk.uploads.cancel_direct_upload, upload.id)

    assert json.loads(refused.value.body)["error"]["messages"] == ["Cancellation no longer possible"]


@pytest.mark.parametrize("headers", [{}, {"Content-Range": "bytes 0-6/7"}], ids=["whole", "as a chunk"])
async def test_an_upload_accepts_one_file(
    mux: MuxEmulator, sdk: Sdk, browser: httpx.AsyncClient, headers: dict[str, str]
) -> None:
    upload = await sdk.create()
    await browser.put(upload.url, content=b"video")
    second = await browser.put(upload.url, content=b"another", headers=headers)
    await settle(mux)

    assert second.status_code == 410
    assert len((await sdk.list(upload_id=upload.id)).data) == 1


async def test_an_upload_without_a_file_times_out_without_a_webhook(
    mux: MuxEmulator, sdk: Sdk, browser: httpx.AsyncClient, receiver: Receiver, clock: TurnableClock
) -> None:
    upload = await sdk.create(NEW_UPLOAD | {"timeout": 60})
    clock.turn(timedelta(seconds=59))
    before = (await sdk.upload(upload.id)).status
    clock.turn(timedelta(seconds=1))
    response = await browser.put(upload.url, content=b"video")
    await settle(mux)

    assert (before, (await sdk.upload(upload.id)).status) == ("waiting", "timed_out")
    assert response.status_code == 410
    assert receiver.types == ["video.upload.created"]


async def test_a_deleted_asset_is_not_found(
    mux: MuxEmulator, sdk: Sdk, browser: httpx.AsyncClient, receiver: Receiver
) -> None:
    upload = await sdk.create()
    await browser.put(upload.url, content=b"video")
    await settle(mux)
    asset_id = (await sdk.upload(upload.id)).asset_id
    await asyncio.to_thread(sdk.assets.delete_asset, asset_id)
    await settle(mux)

    with pytest.raises(mux_python.exceptions.NotFoundException):
        await sdk.asset(asset_id)
    assert receiver.received[-1].event["type"] == "video.asset.deleted"
    assert receiver.received[-1].event["object"] == {"type": "asset", "id": asset_id}


# Reads


async def test_assets_are_listed_newest_first_page_by_page(sdk: Sdk, browser: httpx.AsyncClient) -> None:
    """A cursor is still valid when the last asset of its page has been deleted."""
    uploads = [await sdk.create() for _ in range(3)]
    for upload in uploads:
        await browser.put(upload.url, content=b"video")
    first = await sdk.list(limit=2)
    await asyncio.to_thread(sdk.assets.delete_asset, first.data[-1].id)
    rest = await sdk.list(cursor=first.next_cursor, limit=100)
    second_page = await sdk.list(limit=1, page=2)

    assert [asset.upload_id for asset in first.data] == [uploads[2].id, uploads[1].id]
    assert (rest.data[0].upload_id, rest.next_cursor) == (uploads[0].id, None)
    assert [asset.upload_id for asset in second_page.data] == [uploads[0].id]


async def test_uploads_are_listed_newest_first_page_by_page(sdk: Sdk) -> None:
    uploads = [await sdk.create() for _ in range(3)]
    pages = [await asyncio.to_thread(sdk.uploads.list_direct_uploads, limit=2, page=page) for page in (1, 2)]

    assert [upload.id for page in pages for upload in page.data][:3] == [upload.id for upload in reversed(uploads)]


@pytest.mark.parametrize("read", [Sdk.upload, Sdk.asset], ids=["upload", "asset"])
async def test_an_unknown_id_is_404_and_a_malformed_one_400(sdk: Sdk, read: Callable[[Sdk, str], Any]) -> None:
    with pytest.raises(mux_python.exceptions.NotFoundException) as unknown:
        await read(sdk, "8jd7M77xQgf2NzuocJRPYdSdEfY5dLlcRwFARtgQqU4")
    with pytest.raises(MuxError) as malformed:
        await read(sdk, "not-an-id")

    assert json.loads(unknown.value.body)["error"]["type"] == "not_found"
    assert malformed.value.status == 400
    assert json.loads(malformed.value.body)["error"] == {
        "type": "invalid_parameters",
        "messages": ["Failed to parse ID"],
    }


@pytest.mark.parametrize(
    "body",
    [
        [],
        {"timeout": 59},
        {"timeout": 604_801},
        {"new_asset_settings": {"passthrough": "p" * 256}},
        {"new_asset_settings": {"playback_policies": ["secret"]}},
    ],
    ids=["not an object", "too short", "too long", "a long passthrough", "no such policy"],
)
async def test_invalid_settings_of_an_upload_are_refused(mux: MuxEmulator, sdk: Sdk, body: Any) -> None:
    with pytest.raises(MuxError) as refused:
        await sdk.create(body)

    assert refused.value.status == 400
    assert json.loads(refused.value.body)["error"]["type"] == "invalid_parameters"
    assert mux.requests == [("POST", "/video/v1/uploads", body)]


# Permissions


async def test_rest_requires_the_token(mux: MuxEmulator) -> None:
    with closing(Sdk(mux.url, "another")) as other_sdk, pytest.raises(MuxError) as refused:
        await other_sdk.create()

    assert refused.value.status == 401
    error = json.loads(refused.value.body)["error"]
    assert (error["type"], error["messages"]) == ("unauthorized", ["Unauthorized request"])


async def test_an_upload_requires_the_token_in_its_url(sdk: Sdk, browser: httpx.AsyncClient) -> None:
    upload = await sdk.create()
    with_wrong_token = await browser.put(f"/upload/{upload.id}?token=wrong", content=b"video")
    without_token = await browser.put(f"/upload/{upload.id}", content=b"video")

    assert (with_wrong_token.status_code, without_token.status_code) == (403, 403)
    assert (await sdk.upload(upload.id)).status == "waiting"


async def test_a_browser_can_upload_from_the_origin_of_the_upload(sdk: Sdk, browser: httpx.AsyncClient) -> None:
    """Errors have the headers too, because the browser would else report a network error."""
    upload = await sdk.create()
    preflight = await browser.options(upload.url, headers={"Access-Control-Request-Method": "PUT"})
    chunk = await put_chunk(browser, upload.url, 0, CHUNK, 2 * CHUNK)
    refusal = await browser.put(upload.url, content=b"video", headers={"Content-Range": "bytes 0-9/10"})

    assert preflight.status_code == 204
    assert preflight.headers["access-control-allow-methods"] == "PUT"
    assert preflight.headers["access-control-allow-headers"] == "Content-Type, Content-Range"
    assert chunk.headers["access-control-expose-headers"] == "Range"
    for response in (preflight, chunk, refusal):
        assert response.headers["access-control-allow-origin"] == ORIGIN


async def test_a_browser_cannot_upload_from_another_origin(sdk: Sdk, browser: httpx.AsyncClient) -> None:
    upload = await sdk.create()
    preflight = await browser.options(upload.url, headers={"Origin": "https://elsewhere.example"})

    assert not [name for name in preflight.headers if name.startswith("access-control")]


async def test_every_response_is_marked_as_the_emulators(sdk: Sdk, browser: httpx.AsyncClient) -> None:
    upload = await sdk.create()
    found = await browser.get(f"/video/v1/uploads/{upload.id}", auth=TOKEN)
    unknown = await browser.get("/video/v1/assets/unknown", auth=TOKEN)
    unauthorized = await browser.get("/video/v1/uploads")
    file = await browser.put(upload.url, content=b"video")
    description = await browser.get("/emulator")

    assert [response.headers["x-mux-emulator"] for response in (found, unknown, unauthorized, file, description)] == [
        "true"
    ] * 5
    assert [response.json()["emulator"] for response in (found, unknown, unauthorized)] == [True] * 3
    assert "not Mux" in description.text


# Faults


@pytest.mark.parametrize(
    ("kind", "error"),
    [
        ("rate_limited", MuxError),
        ("server_error", mux_python.exceptions.ServiceException),
        ("slow", urllib3.exceptions.ReadTimeoutError),
        ("reset", urllib3.exceptions.ProtocolError),
        ("drop_reply", urllib3.exceptions.ProtocolError),
    ],
)
async def test_rest_fails_once_and_then_works_again(
    mux: MuxEmulator, sdk: Sdk, kind: Any, error: type[Exception]
) -> None:
    mux.faults = Faults(rest=RestFault(kind=kind, seconds=7))
    with pytest.raises(error):
        await sdk.create(_request_timeout=0.3)

    assert (await sdk.create()).status == "waiting"


async def test_a_rate_limit_has_retry_after(mux: MuxEmulator, sdk: Sdk) -> None:
    mux.faults = Faults(rest=RestFault(kind="rate_limited", seconds=7))
    with pytest.raises(MuxError) as limited:
        await sdk.create()

    assert (limited.value.status, limited.value.headers["Retry-After"]) == (429, "7")


async def test_a_slow_response_succeeds(mux: MuxEmulator, sdk: Sdk) -> None:
    mux.faults = Faults(rest=RestFault(kind="slow", seconds=0.05))

    assert (await sdk.create()).status == "waiting"


async def test_after_a_dropped_reply_the_upload_exists(mux: MuxEmulator, sdk: Sdk, receiver: Receiver) -> None:
    mux.faults = Faults(rest=RestFault(kind="drop_reply"))
    with pytest.raises(urllib3.exceptions.ProtocolError):
        await sdk.create()
    await settle(mux)

    assert receiver.types == ["video.upload.created"]


async def test_after_a_reset_no_upload_exists(mux: MuxEmulator, sdk: Sdk, receiver: Receiver) -> None:
    mux.faults = Faults(rest=RestFault(kind="reset"))
    with pytest.raises(urllib3.exceptions.ProtocolError):
        await sdk.create()
    await settle(mux)

    assert receiver.types == []


@pytest.mark.parametrize(("kind", "media_type"), [("garbage", "text/html"), ("huge", "application/json")])
async def test_rest_responds_with_html_or_a_huge_body(
    mux: MuxEmulator, browser: httpx.AsyncClient, kind: Any, media_type: str
) -> None:
    mux.faults = Faults(rest=RestFault(kind=kind))
    async with browser.stream("GET", "/video/v1/assets") as response:
        beginning = await anext(response.aiter_raw(1000))

    assert (response.status_code, response.headers["content-type"]) == (200, media_type)
    assert beginning.startswith(b"<!doctype html>" if kind == "garbage" else b'{"data":{"id":"aaa')


async def test_rest_fails_for_the_number_of_requests(mux: MuxEmulator, browser: httpx.AsyncClient) -> None:
    mux.faults = Faults(rest=RestFault(kind="server_error", count=2))
    limited = [(await browser.get("/video/v1/assets")).status_code for _ in range(3)]
    mux.faults = Faults(rest=RestFault(kind="server_error", count=None))
    unlimited = [(await browser.get("/video/v1/assets")).status_code for _ in range(3)]

    assert limited == [500, 500, 401]
    assert unlimited == [500, 500, 500]


@pytest.mark.parametrize(("lost", "arrived"), [(1, 1), (None, 0)], ids=["the next", "all"])
async def test_webhooks_are_lost(
    mux: MuxEmulator, sdk: Sdk, receiver: Receiver, lost: int | None, arrived: int
) -> None:
    mux.faults = Faults(lose_webhooks=lost)
    _, second = await sdk.create(), await sdk.create()
    await settle(mux)

    assert [received.event["object"]["id"] for received in receiver.received] == [second.id] * arrived


async def test_webhooks_are_repeated(mux: MuxEmulator, sdk: Sdk, receiver: Receiver) -> None:
    mux.faults = Faults(repeat_webhooks=2)
    await sdk.create()
    await settle(mux)

    assert [received.body for received in receiver.received] == [receiver.received[0].body] * 3


async def test_webhooks_are_sent_in_reverse_order(
    mux: MuxEmulator, sdk: Sdk, browser: httpx.AsyncClient, receiver: Receiver
) -> None:
    mux.faults = Faults(reverse_webhooks=True)
    upload = await sdk.create()
    await settle(mux)
    await browser.put(upload.url, content=b"video")
    await settle(mux)

    assert receiver.types[1:] == ["video.asset.ready", "video.asset.created", "video.upload.asset_created"]


async def test_webhooks_are_delayed(receiver: Receiver) -> None:
    """`settle` raises TimeoutError."""
    faults = Faults(webhook_delay_seconds=60)
    with run_emulator(receiver.url, faults=faults) as mux, closing(Sdk(mux.url)) as sdk:
        await sdk.create()
        with pytest.raises(TimeoutError):
            await asyncio.to_thread(mux.settle, 0.1)

    assert receiver.types == []


async def test_processing_fails(mux: MuxEmulator, sdk: Sdk, browser: httpx.AsyncClient, receiver: Receiver) -> None:
    mux.faults = Faults(processing_error="The file has no video track.")
    upload = await sdk.create()
    await browser.put(upload.url, content=b"video")
    await settle(mux)

    [asset] = (await sdk.list(upload_id=upload.id)).data
    assert (asset.status, asset.errors.messages) == ("errored", ["The file has no video track."])
    assert "video.asset.errored" in receiver.types


async def test_faults_are_set_and_shown_over_http(mux: MuxEmulator, browser: httpx.AsyncClient) -> None:
    response = await browser.put("/emulator/faults", json={"lose_webhooks": None, "rest": {"kind": "slow"}})
    invalid = await browser.put("/emulator/faults", json={"loose_webhooks": 1})

    assert response.status_code == 200
    assert invalid.status_code == 400
    assert mux.faults == Faults(lose_webhooks=None, rest=RestFault(kind="slow"))
    assert (await browser.get("/emulator/faults")).json() == response.json()


# Restarts


async def test_unfinished_work_goes_on_after_a_restart(receiver: Receiver, tmp_path: Path) -> None:
    """Processing of a video, and failed webhooks with their attempts."""
    receiver.statuses = [503] * 1000
    async with httpx.AsyncClient(verify=NO_TLS) as browser:
        with run_emulator(receiver.url, folder=tmp_path, processing_seconds=60) as mux, closing(Sdk(mux.url)) as sdk:
            upload = await sdk.create()
            await browser.put(upload.url, content=b"video")
            await receiver.wait_for(lambda received: received.event["attempts"] != [])
        refused = {received.event["id"] for received in receiver.received}
        receiver.statuses, receiver.received = [], []
        with run_emulator(receiver.url, folder=tmp_path) as mux, closing(Sdk(mux.url)) as sdk:
            await settle(mux)
            [asset] = (await sdk.list(upload_id=upload.id)).data

    assert len(refused) == 3
    redelivered = {received.event["id"]: received.event for received in receiver.received}
    assert refused <= redelivered.keys()
    assert [event for event in redelivered.values() if event["attempts"]]
    assert (asset.status, "video.asset.ready" in receiver.types) == ("ready", True)


async def test_an_unfinished_upload_goes_on_after_a_restart(
    receiver: Receiver, browser: httpx.AsyncClient, tmp_path: Path
) -> None:
    with run_emulator(receiver.url, folder=tmp_path) as mux, closing(Sdk(mux.url)) as sdk:
        upload = await sdk.create()
        await settle(mux)
        await put_chunk(browser, upload.url, 0, CHUNK, 2 * CHUNK)
    with run_emulator(receiver.url, folder=tmp_path) as mux, closing(Sdk(mux.url)) as sdk:
        rest = await put_chunk(browser, (await sdk.upload(upload.id)).url, CHUNK, 2 * CHUNK, 2 * CHUNK)

    assert rest.status_code == 200


async def test_a_delivered_webhook_is_not_sent_again_after_a_restart(receiver: Receiver, tmp_path: Path) -> None:
    with run_emulator(receiver.url, folder=tmp_path) as mux, closing(Sdk(mux.url)) as sdk:
        await sdk.create()
        await settle(mux)
    with run_emulator(receiver.url, folder=tmp_path) as mux:
        await settle(mux)

    assert receiver.types == ["video.upload.created"]


async def test_without_a_folder_nothing_is_stored(receiver: Receiver) -> None:
    with run_emulator(receiver.url) as mux, closing(Sdk(mux.url)) as sdk:
        upload = await sdk.create()
    with run_emulator(receiver.url) as mux, closing(Sdk(mux.url)) as sdk:
        uploads = await asyncio.to_thread(sdk.uploads.list_direct_uploads)

    assert upload.id
    assert uploads.data == []


async def test_stopping_ends_the_thread_and_frees_the_port(receiver: Receiver) -> None:
    """Also while webhooks are retried and a video is processed."""
    receiver.statuses = [503] * 1000
    before = set(threading.enumerate())
    with run_emulator(receiver.url, processing_seconds=60) as mux:
        during = {thread.name for thread in set(threading.enumerate()) - before}
        async with httpx.AsyncClient(verify=NO_TLS) as browser:
            with closing(Sdk(mux.url)) as sdk:
                await browser.put((await sdk.create()).url, content=b"video")
    after = {thread.name for thread in set(threading.enumerate()) - before}

    assert "mux emulator" in during
    assert "mux emulator" not in after
    with run_emulator(receiver.url, port=int(mux.url.rpartition(":")[2])) as again:
        assert again.url == mux.url


async def test_a_port_in_use_is_an_error(mux: MuxEmulator) -> None:
    with pytest.raises(OSError, match="in use"), run_emulator("", port=int(mux.url.rpartition(":")[2])):
        pass
