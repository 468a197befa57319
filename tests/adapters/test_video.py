"""The Mux adapter against a server that answers exactly the bytes it is told."""

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

from mambo.adapters.video import Asset, DirectUpload, MuxVideo, Refusal, UploadState, UploadStatus, VideoHost, may_retry
from mambo.errors import DependencyFailed, DependencyTimedOut, MamboError, Unavailable

Answer: TypeAlias = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
Connect: TypeAlias = Callable[..., VideoHost]


class Request(NamedTuple):
    line: str
    headers: dict[str, str]
    body: bytes


class ScriptedServer:
    """Answers each request with the next answer of its script, the last one again and again, and keeps the requests."""

    def __init__(self) -> None:
        self.script: list[Answer] = []
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
                answer = self.script.pop(0) if len(self.script) > 1 else self.script[0]
                await answer(reader, writer)
                if writer.is_closing():
                    return

    def hang_up(self) -> None:
        for writer in self._writers:
            writer.close()


def says(status: int, body: Any = b"", **headers: str) -> Answer:
    """A whole answer; a body that is not bytes is sent as JSON."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    fields = {"Content-Length": str(len(content))} if status != HTTPStatus.NO_CONTENT else {}
    fields |= {name.replace("_", "-"): value for name, value in headers.items()}
    head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())

    async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(f"HTTP/1.1 {status} Any\r\n{head}\r\n".encode() + (content if fields else b""))

    return answer


def refuses(status: int, *messages: str, **headers: str) -> Answer:
    return says(status, {"error": {"type": "any", "messages": messages}}, **headers)


async def hangs(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
    await reader.read()


async def drops(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.close()


async def breaks_off(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
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
    scripted.hang_up()
    listening.close()
    await listening.wait_closed()


@pytest.fixture
def connect(server: ScriptedServer) -> Iterator[Connect]:
    """Makes an adapter that does not pause between attempts."""
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
    """The circuitbreaker library takes no clock."""
    clock = Clock()
    monkeypatch.setattr(circuitbreaker, "monotonic", clock)
    return clock


async def failure_of(call: Awaitable[Any]) -> MamboError:
    with pytest.raises(MamboError) as raised:
        await call
    return raised.value


# Asking and understanding


async def test_an_upload_is_opened_for_one_origin_and_with_our_own_id(server: ScriptedServer, connect: Connect) -> None:
    """The body is exactly these keys; the token travels as HTTP Basic."""
    server.script = [says(201, {"data": {"id": "upload-1", "url": "https://put.here/1", "status": "waiting"}})]

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
async def test_an_upload_is_read_with_whatever_status(
    server: ScriptedServer, video: VideoHost, data: dict[str, Any], state: UploadState
) -> None:
    server.script = [says(200, {"data": {"id": "upload-1"} | data})]

    assert await video.get_upload("upload-1") == state
    assert server.requests[0].line == "GET /video/v1/uploads/upload-1"


async def test_a_ready_asset_is_read_whole(server: ScriptedServer, video: VideoHost) -> None:
    """Mux's REST gives times as text."""
    server.script = [says(200, {"data": ASSET})]

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


async def test_the_playback_id_is_the_one_of_our_policy(server: ScriptedServer, connect: Connect) -> None:
    server.script = [says(200, {"data": ASSET})]

    asset = await connect(playback_policy="signed").get_asset("asset-1")

    assert asset
    assert asset.playback_id == "closed-1"


async def test_an_errored_asset_says_why(server: ScriptedServer, video: VideoHost) -> None:
    errors = {"type": "invalid_input", "messages": ["The file is not a video.", "Try another."]}
    server.script = [says(200, {"data": {"id": "asset-1", "status": "errored", "errors": errors}})]

    asset = await video.get_asset("asset-1")

    assert asset
    assert (asset.status, asset.error) == ("errored", "The file is not a video. Try another.")
    assert (asset.playback_id, asset.duration_seconds, asset.created_at) == (None, None, None)


@pytest.mark.parametrize(("data", "found"), [([ASSET], "asset-1"), ([], None)])
async def test_an_asset_is_found_by_its_upload(
    server: ScriptedServer, video: VideoHost, data: list[Any], found: str | None
) -> None:
    server.script = [says(200, {"data": data})]

    asset = await video.find_asset("upload-1")

    assert (asset.id if asset else None) == found
    assert server.requests[0].line == "GET /video/v1/assets?upload_id=upload-1"


async def test_all_assets_are_listed_page_by_page(server: ScriptedServer, video: VideoHost) -> None:
    pages = [(["a", "b"], "next 1"), (["c"], "next 2"), ([], None)]
    server.script = [says(200, {"data": [ASSET | {"id": i} for i in ids], "next_cursor": at}) for ids, at in pages]

    listed = [asset.id async for asset in video.list_assets()]

    assert listed == ["a", "b", "c"]
    assert [request.line for request in server.requests] == [
        "GET /video/v1/assets?limit=100",
        "GET /video/v1/assets?limit=100&cursor=next+1",
        "GET /video/v1/assets?limit=100&cursor=next+2",
    ]


async def test_a_cursor_that_leads_nowhere_ends_the_list(server: ScriptedServer, video: VideoHost) -> None:
    server.script = [says(200, {"data": [ASSET], "next_cursor": "again"})]

    listed = [asset.id async for asset in video.list_assets()]

    assert listed == ["asset-1", "asset-1"]


@pytest.mark.parametrize("answer", [refuses(404, "not found"), refuses(400, "Failed to parse ID")])
async def test_what_mux_does_not_know_is_none_and_counts_as_gone(
    server: ScriptedServer, video: VideoHost, answer: Answer
) -> None:
    server.script = [answer]

    assert await video.get_upload("../gone") is None
    assert await video.get_asset("gone") is None
    assert await video.find_asset("gone") is None
    assert await video.cancel_upload("gone") is False
    await video.delete_asset("gone")
    assert server.requests[0].line == "GET /video/v1/uploads/..%2Fgone"
    assert server.requests[-1].line == "DELETE /video/v1/assets/gone"


async def test_an_asset_is_deleted(server: ScriptedServer, video: VideoHost) -> None:
    server.script = [says(204)]

    await video.delete_asset("asset-1")

    assert [request.line for request in server.requests] == ["DELETE /video/v1/assets/asset-1"]


@pytest.mark.parametrize(
    ("script", "cancelled"),
    [
        ([says(200, {"data": {"id": "upload-1", "status": "cancelled"}})], True),
        ([refuses(403), says(200, {"data": {"id": "upload-1", "status": "asset_created"}})], False),
        ([drops, refuses(403), says(200, {"data": {"id": "upload-1", "status": "cancelled"}})], True),
    ],
    ids=["in time", "too late", "the first reply was lost"],
)
async def test_cancelling_says_whether_the_upload_is_cancelled_now(
    server: ScriptedServer, video: VideoHost, script: list[Answer], cancelled: bool
) -> None:
    server.script = list(script)

    assert await video.cancel_upload("upload-1") is cancelled
    assert server.requests[0].line == "PUT /video/v1/uploads/upload-1/cancel"


async def test_cancelling_with_bad_credentials_is_not_taken_for_too_late(
    server: ScriptedServer, video: VideoHost
) -> None:
    server.script = [refuses(403)]

    error = await failure_of(video.cancel_upload("upload-1"))

    assert error.problem_code == "video_credentials"


# What goes wrong

CREDENTIALS = "Mux refuses our credentials: check MUX_TOKEN_ID and MUX_TOKEN_SECRET."
UNUSABLE = "Mux answered something that cannot be used. Try again in a moment."
UNREACHABLE = "Mux cannot be reached. Try again in a moment."
BUSY = "Mux is busy. Try again in a moment."


class Fault(NamedTuple):
    """What Mux does, and what then becomes of it after how many requests."""

    answer: Answer
    status: int
    code: str
    detail: str
    requests: int = 1
    retry_after: str | None = None


FAULTS = {
    "401": Fault(refuses(401), 502, "video_credentials", CREDENTIALS),
    "403": Fault(refuses(403), 502, "video_credentials", CREDENTIALS),
    "401 not UTF-8": Fault(says(401, b"\xff"), 502, "video_credentials", CREDENTIALS),
    "400": Fault(
        refuses(400, "Free plan is limited to 10 assets."),
        502,
        "dependency_failed",
        "Mux refuses this: Free plan is limited to 10 assets.",
    ),
    "422": Fault(
        refuses(422, "a\x1b[31m\n\u202eb", "c" * 300),
        502,
        "dependency_failed",
        f"Mux refuses this: a[31m b {'c' * 162}.",
    ),
    "409 without words": Fault(says(409, b"\xff<html>"), 502, "dependency_failed", "Mux refuses this: status 409."),
    "302": Fault(says(302, Location="/elsewhere"), 502, "dependency_failed", UNUSABLE),
    "429": Fault(refuses(429), 503, "video_busy", BUSY, 3, "2"),
    "429 for long": Fault(refuses(429, Retry_After="60"), 503, "video_busy", BUSY, 1, "60"),
    "429 for ever": Fault(refuses(429, Retry_After="9" * 5000), 503, "video_busy", BUSY, 3, "2"),
    "429 for nonsense": Fault(refuses(429, Retry_After="soon"), 503, "video_busy", BUSY, 3, "2"),
    "503 for long": Fault(refuses(503, Retry_After="60"), 503, "video_busy", BUSY, 1, "60"),
    "500": Fault(says(500, b"<html>\xff"), 502, "dependency_failed", UNUSABLE, 3),
    "503": Fault(refuses(503), 502, "dependency_failed", UNUSABLE, 3),
    "a dropped connection": Fault(drops, 503, "video_unavailable", UNREACHABLE, 3, "2"),
    "half an answer": Fault(breaks_off, 503, "video_unavailable", UNREACHABLE, 3, "2"),
    "HTML": Fault(says(201, b"<html></html>"), 502, "dependency_failed", UNUSABLE),
    "nothing": Fault(says(204), 502, "dependency_failed", UNUSABLE),
    "null": Fault(says(201, {"data": None}), 502, "dependency_failed", UNUSABLE),
    "no url": Fault(says(201, {"data": {"id": "upload-1"}}), 502, "dependency_failed", UNUSABLE),
}


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS.keys())
async def test_a_fault_is_told_in_one_sentence(server: ScriptedServer, video: VideoHost, fault: Fault) -> None:
    """What may pass is tried three times; creating too, as an upload without bytes leaves nothing behind."""
    server.script = [fault.answer]

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
    async def speak_plainly(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(speak_plainly, "127.0.0.1", 0) as plain:
        port = plain.sockets[0].getsockname()[1]

        error = await failure_of(connect(api_url=f"https://127.0.0.1:{port}").get_asset("asset-1"))

    assert (type(error), error.problem_code) == (Unavailable, "video_unavailable")


async def test_a_token_that_cannot_be_sent_is_a_credentials_problem(connect: Connect) -> None:
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
async def test_no_answer_raises_anything_else(server: ScriptedServer, connect: Connect, status: int) -> None:
    """Each call either understands what Mux says or raises one of our errors, with a sentence."""
    for body in BODIES:
        server.script = [says(status, body)]
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


# Trying again


async def test_a_passing_fault_is_not_noticed(server: ScriptedServer, video: VideoHost) -> None:
    server.script = [refuses(500), drops, says(200, {"data": ASSET})]

    asset = await video.get_asset("asset-1")

    assert asset
    assert len(server.requests) == 3


async def test_mux_is_asked_again_when_it_says_so(server: ScriptedServer, video: VideoHost) -> None:
    server.script = [refuses(429, Retry_After="0"), says(200, {"data": ASSET})]

    asset = await video.get_asset("asset-1")

    assert asset
    assert len(server.requests) == 2


@pytest.mark.parametrize(
    ("error", "seconds_left", "answer"),
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
async def test_a_retry_fits_in_the_deadline(error: Exception, seconds_left: float, answer: bool | float) -> None:
    decision = may_retry(error, seconds_left)

    assert (type(decision), decision) == (type(answer), answer)


# When Mux hangs


async def test_a_hanging_mux_holds_nobody_and_takes_eight_threads_at_most(
    server: ScriptedServer, connect: Connect
) -> None:
    """The server shares the event loop with the callers, so that its requests arrive only while the loop is free."""
    server.script = [hangs]
    video = connect(deadline_seconds=0.3)
    before = set(threading.enumerate())

    errors = await asyncio.gather(*(failure_of(video.get_asset("asset-1")) for _ in range(20)))

    assert {type(error) for error in errors} == {DependencyTimedOut}
    assert server.requests
    assert len(set(threading.enumerate()) - before) == 8


@pytest.mark.parametrize("where", ["in the body", "between chunks"])
async def test_a_dripping_answer_is_hung_up_on(server: ScriptedServer, connect: Connect, where: str) -> None:
    """Not only the caller is free after the deadline, the thread is too."""
    hung_up = asyncio.Event()
    head, drop = {
        "in the body": (b"Content-Length: 900000", b" "),
        "between chunks": (b"Transfer-Encoding: chunked", b"1\r\n \r\n"),
    }[where]

    async def drips(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\n" + head + b"\r\n\r\n")
        while not reader.at_eof():
            writer.write(drop)
            with suppress(TimeoutError):
                await asyncio.wait_for(reader.read(1), 0.02)
        hung_up.set()

    server.script = [drips]

    error = await failure_of(connect(deadline_seconds=0.2).get_asset("asset-1"))

    assert type(error) is DependencyTimedOut
    async with asyncio.timeout(10):
        await hung_up.wait()


@pytest.mark.parametrize("status", [200, 400, 500])
async def test_a_huge_answer_is_not_read_to_its_end(server: ScriptedServer, video: VideoHost, status: int) -> None:
    sent = 0
    hung_up = asyncio.Event()

    async def floods(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        writer.write(f"HTTP/1.1 {status} Any\r\nContent-Length: 50000000\r\n\r\n".encode())
        try:
            while sent < 50_000_000:
                writer.write(b" " * 100_000)
                await writer.drain()
                sent += 100_000
        finally:
            hung_up.set()

    server.script = [floods]

    error = await failure_of(video.get_asset("asset-1"))
    await hung_up.wait()

    assert error.detail == UNUSABLE
    assert len(server.requests) == 1
    assert sent < 50_000_000


# When Mux is down


async def fail(video: VideoHost, times: int) -> None:
    for _ in range(times):
        await failure_of(video.get_asset("asset-1"))


@pytest.mark.parametrize("fault", [refuses(500), drops, hangs], ids=["500", "dropped", "hanging"])
async def test_after_five_failures_mux_is_left_alone(server: ScriptedServer, connect: Connect, fault: Answer) -> None:
    server.script = [fault]
    video = connect(deadline_seconds=0.1)
    await fail(video, 5)
    server.requests.clear()

    error = await failure_of(video.get_asset("asset-1"))

    assert (type(error), error.problem_code) == (Unavailable, "video_unavailable")
    assert 25 <= int(error.headers["Retry-After"]) <= 30
    assert server.requests == []


@pytest.mark.parametrize("answer", [refuses(401), refuses(404), refuses(429), refuses(400, "no"), says(200, b"<html>")])
async def test_what_mux_does_not_like_is_no_outage(server: ScriptedServer, connect: Connect, answer: Answer) -> None:
    server.script = [answer]
    video = connect(deadline_seconds=0.4)
    for _ in range(6):
        with suppress(MamboError):
            await video.get_asset("asset-1")
    server.script = [says(200, {"data": ASSET})]

    assert await video.get_asset("asset-1")


async def test_after_the_recovery_time_one_caller_tries_for_all(
    server: ScriptedServer, video: VideoHost, breaker_clock: Clock
) -> None:
    """While it waits for the answer the others are refused; its success lets everyone in."""
    release = asyncio.Event()

    async def answers_later(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await release.wait()
        await says(200, {"data": ASSET})(reader, writer)

    server.script = [drops]
    await fail(video, 5)
    server.script = [answers_later]
    server.arrived = asyncio.Semaphore(0)
    breaker_clock.now += 31

    first = asyncio.create_task(video.get_asset("asset-1"))
    await server.arrived.acquire()
    meanwhile = await failure_of(video.get_asset("asset-1"))
    release.set()

    assert meanwhile.problem_code == "video_unavailable"
    assert await first
    assert await video.get_asset("asset-1")


async def test_a_failed_try_closes_the_door_again(
    server: ScriptedServer, video: VideoHost, breaker_clock: Clock
) -> None:
    server.script = [drops]
    await fail(video, 5)
    breaker_clock.now += 31
    await fail(video, 1)
    server.requests.clear()

    await fail(video, 1)

    assert server.requests == []


async def test_a_cancelled_call_says_nothing_about_mux(
    server: ScriptedServer, connect: Connect, breaker_clock: Clock
) -> None:
    """After four failures it is neither the fifth nor the end of the row; as the one that tries, it makes way."""
    video = connect()
    server.script = [drops]
    await fail(video, 4)

    async def cancel_one() -> None:
        server.script = [hangs]
        server.arrived = asyncio.Semaphore(0)
        task = asyncio.create_task(video.get_asset("asset-1"))
        await server.arrived.acquire()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        server.script = [drops]
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


# Start and end


def test_importing_the_adapter_does_not_import_the_sdk() -> None:
    code = "import sys, mambo.adapters.video; print('mux_python' in sys.modules)"

    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout

    assert printed == "False\n"


async def test_closing_does_not_wait_for_a_hanging_mux(server: ScriptedServer, connect: Connect) -> None:
    server.script = [hangs]
    video = connect(deadline_seconds=60)
    call = asyncio.create_task(video.get_asset("asset-1"))
    await server.arrived.acquire()

    video.close()

    assert not call.done()
    server.hang_up()
    assert (await failure_of(call)).problem_code == "video_unavailable"
