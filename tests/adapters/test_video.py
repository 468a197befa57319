"""The Mux adapter with a server that sends exactly the bytes of a script."""

import asyncio
import base64
import json
import socket
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from http import HTTPStatus
from typing import Any, NamedTuple, TypeAlias

import circuitbreaker
import pytest
from urllib3.exceptions import ProtocolError

from mambo.adapters.mux_http import Refusal, may_retry
from mambo.adapters.video import Asset, DirectUpload, MuxVideo, UploadState, UploadStatus, VideoHost
from mambo.errors import DependencyFailed, DependencyTimedOut, MamboError, Unavailable

Reply: TypeAlias = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
Connect: TypeAlias = Callable[..., VideoHost]


class Request(NamedTuple):
    line: str
    headers: dict[str, str]
    body: bytes


class ScriptedServer:
    """Responds with the next response of its script, and repeats the last one; records the requests."""

    def __init__(self) -> None:
        self.script: list[Reply] = []
        self.requests: list[Request] = []
        self.arrived = asyncio.Semaphore(0)
        self.url = ""
        self._writers: set[asyncio.StreamWriter] = set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        with suppress(OSError, asyncio.IncompleteReadError):
            while True:
                line, *fields = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")[:-2]
                headers = {name.lower(): value for name, value in (field.split(": ", 1) for field in fields)}
                body = await reader.readexactly(int(headers.get("content-length", 0)))
                self.requests.append(Request(line.removesuffix(" HTTP/1.1"), headers, body))
                self.arrived.release()
                response = self.script.pop(0) if len(self.script) > 1 else self.script[0]
                await response(reader, writer)
                if writer.is_closing():
                    return

    def close_connections(self) -> None:
        for writer in self._writers:
            writer.close()


def respond(status: int, body: Any = b"", **headers: str) -> Reply:
    """Return a complete response; a body that is not bytes is sent as JSON."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    fields = {"Content-Length": str(len(content))} if status != HTTPStatus.NO_CONTENT else {}
    fields |= {name.replace("_", "-"): value for name, value in headers.items()}
    head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())

    async def response(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(f"HTTP/1.1 {status} Any\r\n{head}\r\n".encode() + (content if fields else b""))

    return response


def refuse(status: int, *messages: str, **headers: str) -> Reply:
    return respond(status, {"error": {"type": "any", "messages": messages}}, **headers)


async def hang(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
    await reader.read()


async def drop(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.close()


async def send_half(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b'HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{"data":')
    writer.close()


ASSET: dict[str, Any] = {
    "id": "asset-1",
    "created_at": "1609869152",
    "status": "ready",
    "playback_ids": [{"id": "open-1", "policy": "public"}, {"id": "closed-1", "policy": "signed"}],
    "duration": 23.8,
    "passthrough": "lesson-1",
    "upload_id": "upload-1",
    "max_stored_frame_rate": -1,
}


@pytest.fixture
async def server() -> AsyncIterator[ScriptedServer]:
    scripted = ScriptedServer()
    listening = await asyncio.start_server(scripted.serve, "127.0.0.1", 0)
    scripted.url = "http://{}:{}".format(*listening.sockets[0].getsockname())
    yield scripted
    scripted.close_connections()
    listening.close()
    await listening.wait_closed()


@pytest.fixture
def connect(server: ScriptedServer) -> Iterator[Connect]:
    """Return a function that creates an adapter without pauses between attempts."""
    made: list[VideoHost] = []

    def connect(**options: Any) -> VideoHost:
        defaults: dict[str, Any] = {
            "token_id": "id",
            "token_secret": "secret",
            "api_url": server.url,
            "backoff_seconds": 0.0,
        }
        made.append(MuxVideo(**(defaults | options)))
        return made[-1]

    yield connect
    for video in made:
        video.close()


@pytest.fixture
def video(connect: Connect) -> VideoHost:
    return connect()


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def breaker_clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Replace the clock of the circuitbreaker library, which takes none as an argument."""
    clock = Clock()
    monkeypatch.setattr(circuitbreaker, "monotonic", clock)
    return clock


async def failure_of(call: Awaitable[Any]) -> MamboError:
    with pytest.raises(MamboError) as raised:
        await call
    return raised.value


# Requests and responses


async def test_an_upload_is_created_with_an_origin_and_our_id(server: ScriptedServer, connect: Connect) -> None:
    """The body has exactly these keys, and the token is sent with HTTP Basic."""
    server.script = [respond(201, {"data": {"id": "upload-1", "url": "https://put.here/1", "status": "waiting"}})]

    upload = await connect(playback_policy="signed").create_upload("lesson-1", "https://school.example", 900)

    assert upload == DirectUpload("upload-1", "https://put.here/1")
    [request] = server.requests
    assert request.line == "POST /video/v1/uploads"
    assert request.headers["authorization"] == f"Basic {base64.b64encode(b'id:secret').decode()}"
    assert json.loads(request.body) == {
        "cors_origin": "https://school.example",
        "timeout": 900,
        "new_asset_settings": {"playback_policies": ["signed"], "passthrough": "lesson-1"},
    }


@pytest.mark.parametrize(
    ("data", "state"),
    [
        ({"status": "waiting"}, UploadState("upload-1", UploadStatus.WAITING, None, None)),
        (
            {"status": "asset_created", "asset_id": "asset-1"},
            UploadState("upload-1", UploadStatus.ASSET_CREATED, "asset-1", None),
        ),
        (
            {"status": "errored", "error": {"type": "any", "message": "No video in it"}},
            UploadState("upload-1", UploadStatus.ERRORED, None, "No video in it"),
        ),
        ({"status": "paused"}, UploadState("upload-1", UploadStatus.UNKNOWN, None, None)),
    ],
)
async def test_an_upload_of_each_status_is_decoded(
    server: ScriptedServer, video: VideoHost, data: dict[str, Any], state: UploadState
) -> None:
    server.script = [respond(200, {"data": {"id": "upload-1"} | data})]

    assert await video.get_upload("upload-1") == state
    assert server.requests[0].line == "GET /video/v1/uploads/upload-1"


async def test_a_ready_asset_is_decoded(server: ScriptedServer, video: VideoHost) -> None:
    """The REST API returns times as strings."""
    server.script = [respond(200, {"data": ASSET})]

    assert await video.get_asset("asset-1") == Asset(
        id="asset-1",
        status="ready",
        playback_id="open-1",
        duration_seconds=23.8,
        error=None,
        passthrough="lesson-1",
        upload_id="upload-1",
        created_at=datetime(2021, 1, 5, 17, 52, 32, tzinfo=UTC),
    )
    assert server.requests[0].line == "GET /video/v1/assets/asset-1"


async def test_the_playback_id_is_that_of_our_policy(server: ScriptedServer, connect: Connect) -> None:
    server.script = [respond(200, {"data": ASSET})]

    asset = await connect(playback_policy="signed").get_asset("asset-1")

    assert asset
    assert asset.playback_id == "closed-1"


async def test_an_errored_asset_has_an_error(server: ScriptedServer, video: VideoHost) -> None:
    errors = {"type": "invalid_input", "messages": ["The file is not a video.", "Try another."]}
    server.script = [respond(200, {"data": {"id": "asset-1", "status": "errored", "errors": errors}})]

    asset = await video.get_asset("asset-1")

    assert asset
    assert (asset.status, asset.error) == ("errored", "The file is not a video. Try another.")
    assert (asset.playback_id, asset.duration_seconds, asset.created_at) == (None, None, None)


@pytest.mark.parametrize(("data", "found"), [([ASSET], "asset-1"), ([], None)])
async def test_an_asset_is_found_by_its_upload(
    server: ScriptedServer, video: VideoHost, data: list[Any], found: str | None
) -> None:
    server.script = [respond(200, {"data": data})]

    asset = await video.find_asset("upload-1")

    assert (asset.id if asset else None) == found
    assert server.requests[0].line == "GET /video/v1/assets?upload_id=upload-1"


async def test_all_pages_of_assets_are_listed(server: ScriptedServer, video: VideoHost) -> None:
    pages = [(["a", "b"], "next 1"), (["c"], "next 2"), ([], None)]
    server.script = [respond(200, {"data": [ASSET | {"id": i} for i in ids], "next_cursor": at}) for ids, at in pages]

    listed = [asset.id async for asset in video.list_assets()]

    assert listed == ["a", "b", "c"]
    assert [request.line for request in server.requests] == [
        "GET /video/v1/assets?limit=100",
        "GET /video/v1/assets?limit=100&cursor=next+1",
        "GET /video/v1/assets?limit=100&cursor=next+2",
    ]


async def test_a_repeated_cursor_ends_the_list(server: ScriptedServer, video: VideoHost) -> None:
    server.script = [respond(200, {"data": [ASSET], "next_cursor": "again"})]

    listed = [asset.id async for asset in video.list_assets()]

    assert listed == ["asset-1", "asset-1"]


@pytest.mark.parametrize("response", [refuse(404, "not found"), refuse(400, "Failed to parse ID")])
async def test_an_unknown_id_is_none_and_counts_as_deleted(
    server: ScriptedServer, video: VideoHost, response: Reply
) -> None:
    server.script = [response]

    assert await video.get_upload("../gone") is None
    assert await video.get_asset("gone") is None
    assert await video.find_asset("gone") is None
    assert await video.cancel_upload("gone") is False
    await video.delete_asset("gone")
    assert server.requests[0].line == "GET /video/v1/uploads/..%2Fgone"
    assert server.requests[-1].line == "DELETE /video/v1/assets/gone"


async def test_an_asset_is_deleted(server: ScriptedServer, video: VideoHost) -> None:
    server.script = [respond(204)]

    await video.delete_asset("asset-1")

    assert [request.line for request in server.requests] == ["DELETE /video/v1/assets/asset-1"]


@pytest.mark.parametrize(
    ("script", "cancelled"),
    [
        ([respond(200, {"data": {"id": "upload-1", "status": "cancelled"}})], True),
        ([refuse(403), respond(200, {"data": {"id": "upload-1", "status": "asset_created"}})], False),
        ([drop, refuse(403), respond(200, {"data": {"id": "upload-1", "status": "cancelled"}})], True),
    ],
    ids=["in time", "too late", "the first reply was lost"],
)
async def test_cancelling_returns_whether_the_upload_is_cancelled(
    server: ScriptedServer, video: VideoHost, script: list[Reply], cancelled: bool
) -> None:
    server.script = list(script)

    assert await video.cancel_upload("upload-1") is cancelled
    assert server.requests[0].line == "PUT /video/v1/uploads/upload-1/cancel"


async def test_cancelling_with_bad_credentials_is_an_error(server: ScriptedServer, video: VideoHost) -> None:
    server.script = [refuse(403)]

    error = await failure_of(video.cancel_upload("upload-1"))

    assert error.problem_code == "video_credentials"


# Errors

CREDENTIALS = "Mux refuses our credentials: check MUX_TOKEN_ID and MUX_TOKEN_SECRET."
UNUSABLE = "Mux returned something unusable. Try again in a moment."
UNREACHABLE = "Mux cannot be reached. Try again in a moment."
BUSY = "Mux is busy. Try again in a moment."


class Fault(NamedTuple):
    """A response of Mux, the error that it becomes, and the number of requests before."""

    response: Reply
    status: int
    code: str
    detail: str
    requests: int = 1
    retry_after: str | None = None


FAULTS = {
    "401": Fault(refuse(401), 502, "video_credentials", CREDENTIALS),
    "403": Fault(refuse(403), 502, "video_credentials", CREDENTIALS),
    "401 not UTF-8": Fault(respond(401, b"\xff"), 502, "video_credentials", CREDENTIALS),
    "400": Fault(
        refuse(400, "Free plan is limited to 10 assets."),
        502,
        "dependency_failed",
        "Mux refuses this: Free plan is limited to 10 assets.",
    ),
    "422": Fault(
        refuse(422, "a\x1b[31m\n\u202eb", "c" * 300),
        502,
        "dependency_failed",
        f"Mux refuses this: a[31m b {'c' * 162}.",
    ),
    "409 without a message": Fault(
        respond(409, b"\xff<html>"), 502, "dependency_failed", "Mux refuses this: status 409."
    ),
    "302": Fault(respond(302, Location="/elsewhere"), 502, "dependency_failed", UNUSABLE),
    "429": Fault(refuse(429), 503, "video_busy", BUSY, 3, "2"),
    "429 for a minute": Fault(refuse(429, Retry_After="60"), 503, "video_busy", BUSY, 1, "60"),
    "429 for a huge time": Fault(refuse(429, Retry_After="9" * 5000), 503, "video_busy", BUSY, 3, "2"),
    "429 with an invalid Retry-After": Fault(refuse(429, Retry_After="soon"), 503, "video_busy", BUSY, 3, "2"),
    "503 for a minute": Fault(refuse(503, Retry_After="60"), 503, "video_busy", BUSY, 1, "60"),
    "500": Fault(respond(500, b"<html>\xff"), 502, "dependency_failed", UNUSABLE, 3),
    "503": Fault(refuse(503), 502, "dependency_failed", UNUSABLE, 3),
    "a dropped connection": Fault(drop, 503, "video_unavailable", UNREACHABLE, 3, "2"),
    "half a response": Fault(send_half, 503, "video_unavailable", UNREACHABLE, 3, "2"),
    "HTML": Fault(respond(201, b"<html></html>"), 502, "dependency_failed", UNUSABLE),
    "nothing": Fault(respond(204), 502, "dependency_failed", UNUSABLE),
    "null": Fault(respond(201, {"data": None}), 502, "dependency_failed", UNUSABLE),
    "no url": Fault(respond(201, {"data": {"id": "upload-1"}}), 502, "dependency_failed", UNUSABLE),
}


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS.keys())
async def test_each_fault_becomes_one_error(server: ScriptedServer, video: VideoHost, fault: Fault) -> None:
    """A temporary fault is tried three times, also when an upload is created: one without a file leaves nothing."""
    server.script = [fault.response]

    error = await failure_of(video.create_upload("lesson-1", "https://school.example", 900))

    assert (error.status, error.problem_code, error.detail) == (fault.status, fault.code, fault.detail)
    assert len(error.detail) <= 200
    assert error.headers.get("Retry-After") == fault.retry_after
    assert len(server.requests) == fault.requests


async def test_a_refused_connection_is_unavailable(connect: Connect) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]

    error = await failure_of(connect(api_url=f"http://127.0.0.1:{port}").get_asset("asset-1"))

    assert (type(error), error.problem_code) == (Unavailable, "video_unavailable")


async def test_a_failed_tls_handshake_is_unavailable(connect: Connect) -> None:
    async def respond_without_tls(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(respond_without_tls, "127.0.0.1", 0) as plain:
        port = plain.sockets[0].getsockname()[1]

        error = await failure_of(connect(api_url=f"https://127.0.0.1:{port}").get_asset("asset-1"))

    assert (type(error), error.problem_code) == (Unavailable, "video_unavailable")


async def test_a_token_that_cannot_be_encoded_is_a_credentials_error(connect: Connect) -> None:
    error = await failure_of(connect(token_secret="пароль").get_asset("asset-1"))

    assert error.problem_code == "video_credentials"


BODIES: list[Any] = [
    *(b"", b"\xff\xfe", b"<html>", b"[" * 100_000, b'{"data":{"id":"\xff","status":"ready"}}', b'{"data":1e999}'),
    *(None, True, [], "text", {}, {"data": None}, {"data": []}, {"data": {}}, {"data": [None]}, {"error": None}),
    *({"error": {"messages": "text"}}, {"error": {"messages": [1, None]}}, {"error": {"messages": None}}),
    *({"data": {"id": None, "status": "ready", "url": 1}}, {"data": {"id": "a", "status": 7, "url": "b"}}),
    *({"data": ASSET | {field: value}} for field in ASSET for value in (None, [1], {"a": "b"}, -1, "nan", "word")),
]


@pytest.mark.parametrize("status", [200, 201, 204, 302, 400, 404, 418, 500])
async def test_no_response_raises_another_error(server: ScriptedServer, connect: Connect, status: int) -> None:
    """Each call either decodes the response or raises one of our errors, with a sentence."""
    for body in BODIES:
        server.script = [respond(status, body)]
        video = connect()
        calls: list[Callable[[], Awaitable[Any]]] = [
            partial(video.create_upload, "lesson-1", "https://school.example", 900),
            partial(video.get_upload, "upload-1"),
            partial(video.get_asset, "asset-1"),
            partial(video.find_asset, "upload-1"),
        ]

        for call in calls:
            try:
                await call()
            except DependencyFailed as error:
                assert error.detail.endswith("."), body  # noqa: PT017 -- most of them need not raise


# Retries


async def test_a_temporary_fault_is_retried(server: ScriptedServer, video: VideoHost) -> None:
    server.script = [refuse(500), drop, respond(200, {"data": ASSET})]

    asset = await video.get_asset("asset-1")

    assert asset
    assert len(server.requests) == 3


async def test_a_retry_waits_as_long_as_mux_says(server: ScriptedServer, video: VideoHost) -> None:
    server.script = [refuse(429, Retry_After="0"), respond(200, {"data": ASSET})]

    asset = await video.get_asset("asset-1")

    assert asset
    assert len(server.requests) == 2


@pytest.mark.parametrize(
    ("error", "seconds_left", "expected"),
    [
        (Refusal(429, b"", "3"), 5.0, 3.0),
        (Refusal(503, b"", "3"), 5.0, 3.0),
        (Refusal(429, b"", "3"), 2.0, False),
        (Refusal(503, b"", "Wed, 21 Oct 2015 07:28:00 GMT"), 5.0, 0.0),
        (Refusal(429, b""), 5.0, True),
        (Refusal(500, b"", "3"), 5.0, True),
        (Refusal(500, b""), 0.1, False),
        (Refusal(404, b""), 5.0, False),
        (ProtocolError("dropped"), 5.0, True),
        (ProtocolError("dropped"), 0.1, False),
        (TimeoutError(), 5.0, False),
    ],
)
async def test_a_retry_must_fit_in_the_deadline(error: Exception, seconds_left: float, expected: bool | float) -> None:
    decision = may_retry(error, seconds_left)

    assert (type(decision), decision) == (type(expected), expected)


# A server that hangs


async def test_a_hanging_mux_blocks_no_caller_and_uses_eight_threads(server: ScriptedServer, connect: Connect) -> None:
    """The server runs in the same event loop, so requests arrive only while the loop is not blocked."""
    server.script = [hang]
    video = connect(deadline_seconds=0.3)
    before = set(threading.enumerate())

    errors = await asyncio.gather(*(failure_of(video.get_asset("asset-1")) for _ in range(20)))

    assert {type(error) for error in errors} == {DependencyTimedOut}
    assert server.requests
    assert len(set(threading.enumerate()) - before) == 8


@pytest.mark.parametrize("where", ["in the body", "between chunks"])
async def test_a_slow_response_is_aborted_at_the_deadline(server: ScriptedServer, connect: Connect, where: str) -> None:
    """After the deadline the thread is free too."""
    is_closed = asyncio.Event()
    head, piece = {
        "in the body": (b"Content-Length: 900000", b" "),
        "between chunks": (b"Transfer-Encoding: chunked", b"1\r\n \r\n"),
    }[where]

    async def send_slowly(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\n" + head + b"\r\n\r\n")
        while not reader.at_eof():
            writer.write(piece)
            with suppress(TimeoutError):
                await asyncio.wait_for(reader.read(1), 0.02)
        is_closed.set()

    server.script = [send_slowly]

    error = await failure_of(connect(deadline_seconds=0.2).get_asset("asset-1"))

    assert type(error) is DependencyTimedOut
    async with asyncio.timeout(10):
        await is_closed.wait()


@pytest.mark.parametrize("status", [200, 400, 500])
async def test_a_huge_response_is_not_read_completely(server: ScriptedServer, video: VideoHost, status: int) -> None:
    sent = 0
    is_closed = asyncio.Event()

    async def send_much(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        writer.write(f"HTTP/1.1 {status} Any\r\nContent-Length: 50000000\r\n\r\n".encode())
        try:
            while sent < 50_000_000:
                writer.write(b" " * 100_000)
                await writer.drain()
                sent += 100_000
        finally:
            is_closed.set()

    server.script = [send_much]

    error = await failure_of(video.get_asset("asset-1"))
    await is_closed.wait()

    assert error.detail == UNUSABLE
    assert len(server.requests) == 1
    assert sent < 50_000_000


# The circuit breaker


async def fail(video: VideoHost, times: int) -> None:
    for _ in range(times):
        await failure_of(video.get_asset("asset-1"))


@pytest.mark.parametrize("fault", [refuse(500), drop, hang], ids=["500", "dropped", "hanging"])
async def test_after_five_failures_calls_are_refused(server: ScriptedServer, connect: Connect, fault: Reply) -> None:
    server.script = [fault]
    video = connect(deadline_seconds=0.1)
    await fail(video, 5)
    server.requests.clear()

    error = await failure_of(video.get_asset("asset-1"))

    assert (type(error), error.problem_code) == (Unavailable, "video_unavailable")
    assert 25 <= int(error.headers["Retry-After"]) <= 30
    assert server.requests == []


@pytest.mark.parametrize(
    "response", [refuse(401), refuse(404), refuse(429), refuse(400, "no"), respond(200, b"<html>")]
)
async def test_a_refused_request_is_no_outage(server: ScriptedServer, connect: Connect, response: Reply) -> None:
    server.script = [response]
    video = connect(deadline_seconds=0.4)
    for _ in range(6):
        with suppress(MamboError):
            await video.get_asset("asset-1")
    server.script = [respond(200, {"data": ASSET})]

    assert await video.get_asset("asset-1")


async def test_after_the_recovery_time_one_call_is_tried(
    server: ScriptedServer, video: VideoHost, breaker_clock: Clock
) -> None:
    """While it waits for the response other calls are refused; its success closes the circuit."""
    release = asyncio.Event()

    async def respond_later(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await release.wait()
        await respond(200, {"data": ASSET})(reader, writer)

    server.script = [drop]
    await fail(video, 5)
    server.script = [respond_later]
    server.arrived = asyncio.Semaphore(0)
    breaker_clock.now += 31

    first = asyncio.create_task(video.get_asset("asset-1"))
    await server.arrived.acquire()
    refused = await failure_of(video.get_asset("asset-1"))
    release.set()

    assert refused.problem_code == "video_unavailable"
    assert await first
    assert await video.get_asset("asset-1")


async def test_a_failed_trial_opens_the_circuit_again(
    server: ScriptedServer, video: VideoHost, breaker_clock: Clock
) -> None:
    server.script = [drop]
    await fail(video, 5)
    breaker_clock.now += 31
    await fail(video, 1)
    server.requests.clear()

    await fail(video, 1)

    assert server.requests == []


async def test_a_cancelled_call_is_neither_success_nor_failure(
    server: ScriptedServer, connect: Connect, breaker_clock: Clock
) -> None:
    """After four failures it is neither the fifth nor a success, and as the trial call it permits another one."""
    video = connect()
    server.script = [drop]
    await fail(video, 4)

    async def cancel_one() -> None:
        server.script = [hang]
        server.arrived = asyncio.Semaphore(0)
        task = asyncio.create_task(video.get_asset("asset-1"))
        await server.arrived.acquire()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        server.script = [drop]
        server.requests.clear()

    await cancel_one()
    await fail(video, 1)
    assert len(server.requests) == 3
    await fail(video, 1)
    assert len(server.requests) == 3
    breaker_clock.now += 31
    await cancel_one()
    await fail(video, 1)
    assert len(server.requests) == 3


# Import and shutdown


def test_importing_the_adapter_does_not_import_the_sdk() -> None:
    code = "import sys, mambo.adapters.video; print('mux_python' in sys.modules)"

    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout

    assert printed == "False\n"


async def test_closing_does_not_wait_for_a_hanging_mux(server: ScriptedServer, connect: Connect) -> None:
    server.script = [hang]
    video = connect(deadline_seconds=60)
    call = asyncio.create_task(video.get_asset("asset-1"))
    await server.arrived.acquire()

    video.close()

    assert not call.done()
    server.close_connections()
    assert (await failure_of(call)).problem_code == "video_unavailable"
