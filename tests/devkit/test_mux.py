"""The Mux emulator, through Mux's own SDK and over HTTP: what it does right, and what it does wrong when told to."""

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
NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # which is quick to make
CHUNK = 256 * 1024
NEW_UPLOAD = {
    "cors_origin": ORIGIN,
    "new_asset_settings": {"playback_policies": ["signed"], "passthrough": "lesson-1", "meta": {"title": "Básico ♥"}},
}


class Received(NamedTuple):
    """A webhook as it arrived."""

    body: bytes
    signature: str

    @property
    def event(self) -> Any:
        return json.loads(self.body)


class Receiver:
    """A server for webhooks; `answers` are the next statuses, None hangs up, and 204 follows."""

    def __init__(self) -> None:
        self.url = ""
        self.answers: list[int | None] = []
        self.received: list[Received] = []
        self.arrived = asyncio.Event()

    @property
    def types(self) -> list[str]:
        return [received.event["type"] for received in self.received]

    async def has(self, wanted: Callable[[Received], bool]) -> None:
        """Wait until such a webhook has arrived."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not any(wanted(received) for received in self.received):
                self.arrived.clear()
                await self.arrived.wait()

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        [length] = re.findall(r"(?im)^content-length: (\d+)", head)
        [signature] = re.findall(r"(?im)^mux-signature: (.+?)\r", head)
        self.received.append(Received(await reader.readexactly(int(length)), signature))
        status = self.answers.pop(0) if self.answers else 204
        if status is not None:
            writer.write(b"HTTP/1.1 %d -\r\nContent-Length: 0\r\nConnection: close\r\n\r\n" % status)
        writer.close()
        await writer.wait_closed()
        self.arrived.set()


class Sdk:
    """mux-python on threads of its own, as an async program calls it."""

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
async def receiving() -> AsyncIterator[Receiver]:
    receiver = Receiver()
    async with await asyncio.start_server(receiver.handle, "127.0.0.1") as server:
        receiver.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/webhooks"
        yield receiver


@contextmanager
def emulating(webhook_url: str, **options: Any) -> Iterator[MuxEmulator]:
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
    async with receiving() as receiver:
        yield receiver


@pytest.fixture(scope="module")
def clock() -> TurnableClock:
    return TurnableClock()


@pytest.fixture(scope="module")
def emulator(clock: TurnableClock) -> Iterator[MuxEmulator]:
    with emulating("", clock=clock) as mux:
        yield mux


@pytest.fixture
async def mux(emulator: MuxEmulator, receiver: Receiver, clock: TurnableClock) -> AsyncIterator[MuxEmulator]:
    """An emulator without a fault, that has seen nothing yet; a stop takes a while, so it is one for all."""
    emulator.webhook_url, emulator.faults, clock.now = receiver.url, Faults(), START
    emulator.requests.clear()
    emulator.deliveries.clear()
    yield emulator
    await settled(emulator)


@pytest.fixture
def sdk(mux: MuxEmulator) -> Iterator[Sdk]:
    with closing(Sdk(mux.url)) as sdk:
        yield sdk


@pytest.fixture
async def browser(mux: MuxEmulator) -> AsyncIterator[httpx.AsyncClient]:
    """A client on the upload's origin."""
    async with httpx.AsyncClient(base_url=mux.url, verify=NO_TLS, headers={"Origin": ORIGIN}) as browser:
        yield browser


async def settled(mux: MuxEmulator) -> None:
    await asyncio.to_thread(mux.settle)


async def put_chunk(browser: httpx.AsyncClient, url: str, start: int, end: int, total: int) -> httpx.Response:
    headers = {"Content-Range": f"bytes {start}-{end - 1}/{total}"}
    return await browser.put(url, content=b"v" * (end - start), headers=headers)


# From a file to a video


async def test_a_file_becomes_a_ready_asset(mux: MuxEmulator, sdk: Sdk, browser: httpx.AsyncClient) -> None:
    upload = await sdk.create()
    answer = await browser.put(upload.url, content=b"video")
    await settled(mux)

    assert upload.status == "waiting"
    assert answer.status_code == 200
    done = await sdk.upload(upload.id)
    assert (done.status, done.url, done.new_asset_settings.passthrough) == ("asset_created", None, "lesson-1")
    asset = await sdk.asset(done.asset_id)
    assert (asset.status, asset.upload_id, asset.passthrough) == ("ready", upload.id, "lesson-1")
    assert (asset.aspect_ratio, asset.duration > 0, len(asset.tracks)) == ("16:9", True, 2)
    assert [playback_id.policy for playback_id in asset.playback_ids] == ["signed"]


async def test_an_asset_is_preparing_until_it_is_processed(receiver: Receiver) -> None:
    with emulating(receiver.url, processing_seconds=60) as mux, closing(Sdk(mux.url)) as sdk:
        upload = await sdk.create()
        async with httpx.AsyncClient(verify=NO_TLS) as browser:
            await browser.put(upload.url, content=b"video")
        [asset] = (await sdk.list(upload_id=upload.id)).data

    assert (asset.status, asset.duration, asset.tracks) == ("preparing", None, None)


async def test_every_step_sends_a_webhook_in_the_shape_of_muxs(
    mux: MuxEmulator, sdk: Sdk, browser: httpx.AsyncClient, receiver: Receiver
) -> None:
    """`created_at` is a number in an asset's webhook; passthrough stands elsewhere in an upload than in an asset."""
    upload = await sdk.create()
    await browser.put(upload.url, content=b"video")
    await settled(mux)

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


async def test_a_webhook_is_signed_over_its_exact_bytes(mux: MuxEmulator, sdk: Sdk, receiver: Receiver) -> None:
    """HMAC-SHA256 of `t.body`, as Mux publishes it, at the time of its clock; the body has more than ASCII."""
    await sdk.create()
    await settled(mux)

    [(body, signature)] = receiver.received
    assert "Básico ♥".encode() in body
    expected = hmac.new(SECRET.encode(), f"{NOW}.".encode() + body, hashlib.sha256).hexdigest()
    assert signature == f"t={NOW},v1={expected}"


async def test_a_refused_webhook_comes_again_and_tells_of_it(mux: MuxEmulator, sdk: Sdk, receiver: Receiver) -> None:
    """The id stays, while the attempt is in the body, which is thus signed anew."""
    receiver.answers = [503]
    await sdk.create()
    await settled(mux)

    first, second = receiver.received
    assert first.event["id"] == second.event["id"]
    assert first.event["attempts"] == []
    [attempt] = second.event["attempts"]
    assert (attempt["response_status_code"], attempt["address"]) == (503, receiver.url)
    assert first.signature != second.signature
    assert [delivery.status for delivery in mux.deliveries] == [503, 204]


async def test_a_webhook_without_an_answer_comes_again(mux: MuxEmulator, sdk: Sdk, receiver: Receiver) -> None:
    receiver.answers = [None]
    await sdk.create()
    await settled(mux)

    assert [delivery.status for delivery in mux.deliveries] == [None, 204]


async def test_webhooks_find_a_receiver_that_is_known_late(mux: MuxEmulator, sdk: Sdk, receiver: Receiver) -> None:
    mux.webhook_url = ""
    await sdk.create()
    mux.webhook_url = receiver.url
    await settled(mux)

    assert receiver.types == ["video.upload.created"]


# In chunks, as UpChunk sends them


async def test_a_file_may_come_in_chunks_of_which_each_may_come_twice(
    mux: MuxEmulator, sdk: Sdk, browser: httpx.AsyncClient
) -> None:
    """The browser sends a chunk again when it misses the answer; there is one asset in the end."""
    upload = await sdk.create()
    total = CHUNK + 1000
    first, again = [await put_chunk(browser, upload.url, 0, CHUNK, total) for _ in range(2)]
    last, last_again = [await put_chunk(browser, upload.url, CHUNK, total, total) for _ in range(2)]
    await settled(mux)

    for answer in (first, again):
        assert (answer.status_code, answer.headers["range"]) == (308, f"bytes=0-{CHUNK - 1}")
    assert (last.status_code, last_again.status_code) == (200, 200)
    assert len((await sdk.list(upload_id=upload.id)).data) == 1


async def test_a_chunk_out_of_place_is_told_where_to_go_on(sdk: Sdk, browser: httpx.AsyncClient) -> None:
    upload = await sdk.create()
    early = await put_chunk(browser, upload.url, CHUNK, 2 * CHUNK, 3 * CHUNK)
    await put_chunk(browser, upload.url, 0, CHUNK, 3 * CHUNK)
    late = await put_chunk(browser, upload.url, 2 * CHUNK, 3 * CHUNK, 3 * CHUNK)

    assert (early.status_code, early.headers.get("range")) == (308, None)
    assert (late.status_code, late.headers["range"]) == (308, f"bytes=0-{CHUNK - 1}")
    assert (await sdk.upload(upload.id)).status == "waiting"


async def test_of_a_chunk_whole_256_kib_are_kept(sdk: Sdk, browser: httpx.AsyncClient) -> None:
    upload = await sdk.create()
    answer = await put_chunk(browser, upload.url, 0, CHUNK + 5, 3 * CHUNK)

    assert (answer.status_code, answer.headers["range"]) == (308, f"bytes=0-{CHUNK - 1}")


async def test_a_file_that_breaks_off_may_come_again(sdk: Sdk, browser: httpx.AsyncClient) -> None:
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


async def test_an_upload_tells_what_has_arrived(sdk: Sdk, browser: httpx.AsyncClient) -> None:
    upload = await sdk.create()
    question = {"Content-Range": f"bytes */{2 * CHUNK}"}
    nothing = await browser.put(upload.url, headers=question)
    await put_chunk(browser, upload.url, 0, CHUNK, 2 * CHUNK)
    half = await browser.put(upload.url, headers=question)
    await put_chunk(browser, upload.url, CHUNK, 2 * CHUNK, 2 * CHUNK)
    whole = await browser.put(upload.url, headers=question)

    assert (nothing.status_code, nothing.headers.get("range")) == (308, None)
    assert (half.status_code, half.headers["range"]) == (308, f"bytes=0-{CHUNK - 1}")
    assert whole.status_code == 200


@pytest.mark.parametrize("content_range", ["bytes 0-9/10", "bytes 0-4/3", "bytes=0-4/5", "bytes 0-4/*", "5"])
async def test_a_range_that_does_not_fit_the_body_is_refused(
    sdk: Sdk, browser: httpx.AsyncClient, content_range: str
) -> None:
    upload = await sdk.create()
    answer = await browser.put(upload.url, content=b"video", headers={"Content-Range": content_range})

    assert answer.status_code == 400
    assert (await sdk.upload(upload.id)).status == "waiting"


# Uploads and assets that end otherwise


async def test_an_empty_file_is_not_a_video(
    mux: MuxEmulator, sdk: Sdk, browser: httpx.AsyncClient, receiver: Receiver
) -> None:
    upload = await sdk.create()
    await browser.put(upload.url, content=b"")
    await settled(mux)

    failed = await sdk.upload(upload.id)
    assert (failed.status, failed.asset_id, failed.error.type) == ("errored", None, "invalid_input")
    assert failed.error.message == "The file is not a valid video file."
    assert sorted(receiver.types) == ["video.upload.created", "video.upload.errored"]


async def test_a_cancelled_upload_takes_no_file(
    mux: MuxEmulator, sdk: Sdk, browser: httpx.AsyncClient, receiver: Receiver
) -> None:
    upload = await sdk.create()
    cancelled = await asyncio.to_thread(sdk.uploads.cancel_direct_upload, upload.id)
    answer = await browser.put(upload.url, content=b"video")
    await settled(mux)

    assert cancelled.data.status == "cancelled"
    assert answer.status_code == 410
    assert sorted(receiver.types) == ["video.upload.cancelled", "video.upload.created"]


async def test_an_upload_that_has_its_file_is_not_cancelled(sdk: Sdk, browser: httpx.AsyncClient) -> None:
    upload = await sdk.create()
    await browser.put(upload.url, content=b"video")
    with pytest.raises(mux_python.exceptions.ForbiddenException) as refused:
        await asyncio.to_thread(sdk.uploads.cancel_direct_upload, upload.id)

    assert json.loads(refused.value.body)["error"]["messages"] == ["Cancellation no longer possible"]


@pytest.mark.parametrize("headers", [{}, {"Content-Range": "bytes 0-6/7"}], ids=["whole", "as a chunk"])
async def test_an_upload_takes_one_file(
    mux: MuxEmulator, sdk: Sdk, browser: httpx.AsyncClient, headers: dict[str, str]
) -> None:
    upload = await sdk.create()
    await browser.put(upload.url, content=b"video")
    second = await browser.put(upload.url, content=b"another", headers=headers)
    await settled(mux)

    assert second.status_code == 410
    assert len((await sdk.list(upload_id=upload.id)).data) == 1


async def test_an_upload_without_a_file_times_out_and_no_webhook_tells(
    mux: MuxEmulator, sdk: Sdk, browser: httpx.AsyncClient, receiver: Receiver, clock: TurnableClock
) -> None:
    upload = await sdk.create(NEW_UPLOAD | {"timeout": 60})
    clock.turn(timedelta(seconds=59))
    before = (await sdk.upload(upload.id)).status
    clock.turn(timedelta(seconds=1))
    answer = await browser.put(upload.url, content=b"video")
    await settled(mux)

    assert (before, (await sdk.upload(upload.id)).status) == ("waiting", "timed_out")
    assert answer.status_code == 410
    assert receiver.types == ["video.upload.created"]


async def test_a_deleted_asset_is_gone(
    mux: MuxEmulator, sdk: Sdk, browser: httpx.AsyncClient, receiver: Receiver
) -> None:
    upload = await sdk.create()
    await browser.put(upload.url, content=b"video")
    await settled(mux)
    asset_id = (await sdk.upload(upload.id)).asset_id
    await asyncio.to_thread(sdk.assets.delete_asset, asset_id)
    await settled(mux)

    with pytest.raises(mux_python.exceptions.NotFoundException):
        await sdk.asset(asset_id)
    assert receiver.received[-1].event["type"] == "video.asset.deleted"
    assert receiver.received[-1].event["object"] == {"type": "asset", "id": asset_id}


# Reading


async def test_assets_are_listed_newest_first_page_by_page(sdk: Sdk, browser: httpx.AsyncClient) -> None:
    """A cursor still leads on when the asset at which the page ended is deleted."""
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
async def test_an_unknown_id_is_not_found_and_a_malformed_one_is_not_read(
    sdk: Sdk, read: Callable[[Sdk, str], Any]
) -> None:
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
async def test_an_upload_that_mux_would_refuse_is_refused(mux: MuxEmulator, sdk: Sdk, body: Any) -> None:
    with pytest.raises(MuxError) as refused:
        await sdk.create(body)

    assert refused.value.status == 400
    assert json.loads(refused.value.body)["error"]["type"] == "invalid_parameters"
    assert mux.requests == [("POST", "/video/v1/uploads", body)]


# Who may do what


async def test_rest_is_for_those_who_have_the_token(mux: MuxEmulator) -> None:
    with closing(Sdk(mux.url, "another")) as stranger, pytest.raises(MuxError) as refused:
        await stranger.create()

    assert refused.value.status == 401
    error = json.loads(refused.value.body)["error"]
    assert (error["type"], error["messages"]) == ("unauthorized", ["Unauthorized request"])


async def test_an_upload_is_for_those_who_have_its_address(sdk: Sdk, browser: httpx.AsyncClient) -> None:
    upload = await sdk.create()
    guessed = await browser.put(f"/upload/{upload.id}?token=guessed", content=b"video")
    bare = await browser.put(f"/upload/{upload.id}", content=b"video")

    assert (guessed.status_code, bare.status_code) == (403, 403)
    assert (await sdk.upload(upload.id)).status == "waiting"


async def test_a_browser_may_upload_from_the_origin_that_was_named(sdk: Sdk, browser: httpx.AsyncClient) -> None:
    """Refusals too are readable there, or the browser would tell of a network error."""
    upload = await sdk.create()
    preflight = await browser.options(upload.url, headers={"Access-Control-Request-Method": "PUT"})
    chunk = await put_chunk(browser, upload.url, 0, CHUNK, 2 * CHUNK)
    refusal = await browser.put(upload.url, content=b"video", headers={"Content-Range": "bytes 0-9/10"})

    assert preflight.status_code == 204
    assert preflight.headers["access-control-allow-methods"] == "PUT"
    assert preflight.headers["access-control-allow-headers"] == "Content-Type, Content-Range"
    assert chunk.headers["access-control-expose-headers"] == "Range"
    for answer in (preflight, chunk, refusal):
        assert answer.headers["access-control-allow-origin"] == ORIGIN


async def test_a_browser_may_not_upload_from_elsewhere(sdk: Sdk, browser: httpx.AsyncClient) -> None:
    upload = await sdk.create()
    preflight = await browser.options(upload.url, headers={"Origin": "https://elsewhere.example"})

    assert not [name for name in preflight.headers if name.startswith("access-control")]


async def test_every_answer_says_that_this_is_not_mux(sdk: Sdk, browser: httpx.AsyncClient) -> None:
    upload = await sdk.create()
    good = await browser.get(f"/video/v1/uploads/{upload.id}", auth=TOKEN)
    unknown = await browser.get("/video/v1/assets/unknown", auth=TOKEN)
    strange = await browser.get("/video/v1/uploads")
    file = await browser.put(upload.url, content=b"video")
    sentence = await browser.get("/emulator")

    assert [answer.headers["x-mux-emulator"] for answer in (good, unknown, strange, file, sentence)] == ["true"] * 5
    assert [answer.json()["emulator"] for answer in (good, unknown, strange)] == [True] * 3
    assert "not Mux" in sentence.text


# What it does wrong


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


async def test_a_rate_limit_says_when_to_come_again(mux: MuxEmulator, sdk: Sdk) -> None:
    mux.faults = Faults(rest=RestFault(kind="rate_limited", seconds=7))
    with pytest.raises(MuxError) as limited:
        await sdk.create()

    assert (limited.value.status, limited.value.headers["Retry-After"]) == (429, "7")


async def test_a_slow_answer_is_good_for_who_waits(mux: MuxEmulator, sdk: Sdk) -> None:
    mux.faults = Faults(rest=RestFault(kind="slow", seconds=0.05))

    assert (await sdk.create()).status == "waiting"


async def test_a_dropped_reply_is_of_work_that_was_done(mux: MuxEmulator, sdk: Sdk, receiver: Receiver) -> None:
    mux.faults = Faults(rest=RestFault(kind="drop_reply"))
    with pytest.raises(urllib3.exceptions.ProtocolError):
        await sdk.create()
    await settled(mux)

    assert receiver.types == ["video.upload.created"]


async def test_a_reset_is_of_work_that_was_not_done(mux: MuxEmulator, sdk: Sdk, receiver: Receiver) -> None:
    mux.faults = Faults(rest=RestFault(kind="reset"))
    with pytest.raises(urllib3.exceptions.ProtocolError):
        await sdk.create()
    await settled(mux)

    assert receiver.types == []


@pytest.mark.parametrize(("kind", "media_type"), [("garbage", "text/html"), ("huge", "application/json")])
async def test_rest_may_answer_what_is_no_answer(
    mux: MuxEmulator, browser: httpx.AsyncClient, kind: Any, media_type: str
) -> None:
    """A 200 with a web page, or with so much that a careful client stops reading: 64 MiB."""
    mux.faults = Faults(rest=RestFault(kind=kind))
    async with browser.stream("GET", "/video/v1/assets") as answer:
        beginning = await anext(answer.aiter_raw(1000))

    assert (answer.status_code, answer.headers["content-type"]) == (200, media_type)
    assert beginning.startswith(b"<!doctype html>" if kind == "garbage" else b'{"data":{"id":"aaa')


async def test_rest_fails_for_as_long_as_it_should(mux: MuxEmulator, browser: httpx.AsyncClient) -> None:
    mux.faults = Faults(rest=RestFault(kind="server_error", count=2))
    counted = [(await browser.get("/video/v1/assets")).status_code for _ in range(3)]
    mux.faults = Faults(rest=RestFault(kind="server_error", count=None))
    endless = [(await browser.get("/video/v1/assets")).status_code for _ in range(3)]

    assert counted == [500, 500, 401]
    assert endless == [500, 500, 500]


@pytest.mark.parametrize(("lost", "arrived"), [(1, 1), (None, 0)], ids=["the next", "all"])
async def test_webhooks_get_lost(
    mux: MuxEmulator, sdk: Sdk, receiver: Receiver, lost: int | None, arrived: int
) -> None:
    mux.faults = Faults(lose_webhooks=lost)
    _, second = await sdk.create(), await sdk.create()
    await settled(mux)

    assert [received.event["object"]["id"] for received in receiver.received] == [second.id] * arrived


async def test_webhooks_come_more_than_once(mux: MuxEmulator, sdk: Sdk, receiver: Receiver) -> None:
    mux.faults = Faults(repeat_webhooks=2)
    await sdk.create()
    await settled(mux)

    assert [received.body for received in receiver.received] == [receiver.received[0].body] * 3


async def test_webhooks_come_in_reverse(
    mux: MuxEmulator, sdk: Sdk, browser: httpx.AsyncClient, receiver: Receiver
) -> None:
    mux.faults = Faults(reverse_webhooks=True)
    upload = await sdk.create()
    await settled(mux)
    await browser.put(upload.url, content=b"video")
    await settled(mux)

    assert receiver.types[1:] == ["video.asset.ready", "video.asset.created", "video.upload.asset_created"]


async def test_webhooks_come_late(receiver: Receiver) -> None:
    """Waiting for what is under way ends when patience does."""
    late = Faults(webhook_delay_seconds=60)
    with emulating(receiver.url, faults=late) as mux, closing(Sdk(mux.url)) as sdk:
        await sdk.create()
        with pytest.raises(TimeoutError):
            await asyncio.to_thread(mux.settle, 0.1)

    assert receiver.types == []


async def test_processing_fails(mux: MuxEmulator, sdk: Sdk, browser: httpx.AsyncClient, receiver: Receiver) -> None:
    mux.faults = Faults(processing_error="The file has no video track.")
    upload = await sdk.create()
    await browser.put(upload.url, content=b"video")
    await settled(mux)

    [asset] = (await sdk.list(upload_id=upload.id)).data
    assert (asset.status, asset.errors.messages) == ("errored", ["The file has no video track."])
    assert "video.asset.errored" in receiver.types


async def test_faults_are_set_and_shown_over_http(mux: MuxEmulator, browser: httpx.AsyncClient) -> None:
    answer = await browser.put("/emulator/faults", json={"lose_webhooks": None, "rest": {"kind": "slow"}})
    misspelt = await browser.put("/emulator/faults", json={"loose_webhooks": 1})

    assert answer.status_code == 200
    assert misspelt.status_code == 400
    assert mux.faults == Faults(lose_webhooks=None, rest=RestFault(kind="slow"))
    assert (await browser.get("/emulator/faults")).json() == answer.json()


# Stopping and starting


async def test_what_was_under_way_goes_on_after_a_restart(receiver: Receiver, tmp_path: Path) -> None:
    """A video in processing, and webhooks that nobody took, with what came of them."""
    receiver.answers = [503] * 1000
    async with httpx.AsyncClient(verify=NO_TLS) as browser:
        with emulating(receiver.url, folder=tmp_path, processing_seconds=60) as mux, closing(Sdk(mux.url)) as sdk:
            upload = await sdk.create()
            await browser.put(upload.url, content=b"video")
            await receiver.has(lambda received: received.event["attempts"] != [])
        refused = {received.event["id"] for received in receiver.received}
        receiver.answers, receiver.received = [], []
        with emulating(receiver.url, folder=tmp_path) as mux, closing(Sdk(mux.url)) as sdk:
            await settled(mux)
            [asset] = (await sdk.list(upload_id=upload.id)).data

    assert len(refused) == 3
    redelivered = {received.event["id"]: received.event for received in receiver.received}
    assert refused <= redelivered.keys()
    assert [event for event in redelivered.values() if event["attempts"]]
    assert (asset.status, "video.asset.ready" in receiver.types) == ("ready", True)


async def test_half_a_file_goes_on_after_a_restart(
    receiver: Receiver, browser: httpx.AsyncClient, tmp_path: Path
) -> None:
    with emulating(receiver.url, folder=tmp_path) as mux, closing(Sdk(mux.url)) as sdk:
        upload = await sdk.create()
        await settled(mux)
        await put_chunk(browser, upload.url, 0, CHUNK, 2 * CHUNK)
    with emulating(receiver.url, folder=tmp_path) as mux, closing(Sdk(mux.url)) as sdk:
        rest = await put_chunk(browser, (await sdk.upload(upload.id)).url, CHUNK, 2 * CHUNK, 2 * CHUNK)

    assert rest.status_code == 200


async def test_what_was_delivered_stays_delivered(receiver: Receiver, tmp_path: Path) -> None:
    with emulating(receiver.url, folder=tmp_path) as mux, closing(Sdk(mux.url)) as sdk:
        await sdk.create()
        await settled(mux)
    with emulating(receiver.url, folder=tmp_path) as mux:
        await settled(mux)

    assert receiver.types == ["video.upload.created"]


async def test_without_a_folder_nothing_is_kept(receiver: Receiver) -> None:
    with emulating(receiver.url) as mux, closing(Sdk(mux.url)) as sdk:
        upload = await sdk.create()
    with emulating(receiver.url) as mux, closing(Sdk(mux.url)) as sdk:
        uploads = await asyncio.to_thread(sdk.uploads.list_direct_uploads)

    assert upload.id
    assert uploads.data == []


async def test_a_stop_ends_its_thread_and_frees_its_port(receiver: Receiver) -> None:
    """Also while webhooks are tried again and a video is processed."""
    receiver.answers = [503] * 1000
    before = set(threading.enumerate())
    with emulating(receiver.url, processing_seconds=60) as mux:
        during = {thread.name for thread in set(threading.enumerate()) - before}
        async with httpx.AsyncClient(verify=NO_TLS) as browser:
            with closing(Sdk(mux.url)) as sdk:
                await browser.put((await sdk.create()).url, content=b"video")
    after = {thread.name for thread in set(threading.enumerate()) - before}

    assert "mux emulator" in during
    assert "mux emulator" not in after
    with emulating(receiver.url, port=int(mux.url.rpartition(":")[2])) as again:
        assert again.url == mux.url


async def test_a_taken_port_is_an_error(mux: MuxEmulator) -> None:
    with pytest.raises(OSError, match="in use"), emulating("", port=int(mux.url.rpartition(":")[2])):
        pass
