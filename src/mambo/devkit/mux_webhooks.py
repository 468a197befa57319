"""The webhooks of the Mux emulator, and the faults that it simulates."""

import asyncio
import hmac
import ssl
from collections.abc import Callable, Coroutine
from contextlib import suppress
from datetime import datetime
from typing import Any, Literal, NamedTuple, cast
from uuid import uuid4

import httpx
import msgspec
import stamina
from litestar.enums import ScopeType
from litestar.types import ASGIApp, HTTPRequestEvent, Receive, Scope, Send
from msgspec import Struct

from mambo.clock import Clock

MAX_ATTEMPTS = 30
RESPONSE_SECONDS = 5
AFTER_A_FILE = {"video.upload.asset_created", "video.asset.created", "video.asset.ready", "video.asset.errored"}
EVENTS_AFTER_A_FILE = 3

JSON = b"application/json"
ERROR = b'{"error":{"type":"%b","messages":["%b"]},"emulator":true}'
FAULTY_RESPONSES = {
    "rate_limited": (429, JSON, [ERROR % (b"too_many_requests", b"Too many requests")]),
    "server_error": (500, JSON, [ERROR % (b"internal_server_error", b"Something went wrong")]),
    "garbage": (200, b"text/html", [b"<!doctype html><title>Welcome</title>"]),
    "huge": (200, JSON, [b'{"data":{"id":"', *[b"a" * 2**16] * 2**10, b'"}}']),
}


class RestFault(Struct, kw_only=True, forbid_unknown_fields=True):
    """The fault of the next `count` REST requests; null is all of them.

    `slow` responds after `seconds`, which are also the Retry-After of `rate_limited`. `reset` closes the connection
    without a response, `drop_reply` does so after the request has been processed. `garbage` is HTML with status 200,
    `huge` a body of 64 MiB.
    """

    kind: Literal["rate_limited", "server_error", "slow", "reset", "drop_reply", "garbage", "huge"]
    count: int | None = 1
    seconds: float = 1.0


class Faults(Struct, kw_only=True, forbid_unknown_fields=True):
    """The faults to simulate; by default none.

    `lose_webhooks`: how many are never sent, null for all. `repeat_webhooks`: how many more times each is sent.
    `reverse_webhooks`: the three webhooks after a file are sent in reverse order. `processing_error`: the message with
    which assets fail.
    """

    lose_webhooks: int | None = 0
    repeat_webhooks: int = 0
    reverse_webhooks: bool = False
    webhook_delay_seconds: float = 0.0
    processing_error: str | None = None
    rest: RestFault | None = None

    def loses_webhook(self) -> bool:
        if self.lose_webhooks:
            self.lose_webhooks -= 1
            return True
        return self.lose_webhooks is None

    def next_rest(self) -> RestFault | None:
        if self.rest is None or self.rest.count == 0:
            return None
        if self.rest.count is not None:
            self.rest.count -= 1
        return self.rest


class Webhook(Struct, kw_only=True):
    """An event in Mux's format: a redelivery has the same `id`, and the failed `attempts`."""

    type: str
    request_id: None = None
    object: dict[str, str]
    id: str = msgspec.field(default_factory=lambda: str(uuid4()))
    environment: dict[str, str] = msgspec.field(default_factory=lambda: {"name": "Development", "id": "emulator"})
    data: dict[str, Any]
    created_at: str
    attempts: list[dict[str, Any]] = []
    accessor_source: None = None
    accessor: None = None


class Delivery(NamedTuple):
    """One attempt to send a webhook; `status` is None if there was no response in time."""

    webhook_id: str
    type: str
    status: int | None
    body: bytes
    signature: str


class RecordedRequest(NamedTuple):
    """A REST request; `path` includes the query, `body` is decoded JSON."""

    method: str
    path: str
    body: Any


class Controls:
    """The settings that tests change while the emulator runs, and the requests and deliveries it has recorded."""

    def __init__(self, webhook_url: str, faults: Faults) -> None:
        self.webhook_url, self.faults = webhook_url, faults
        self.requests, self.deliveries = list[RecordedRequest](), list[Delivery]()


class NotDelivered(Exception):
    """The receiver did not respond in time, or not with 2xx."""


def sign(body: bytes, secret: str, at: int) -> str:
    """Return the `Mux-Signature` header of these bytes; `at` is in Unix seconds."""
    digest = hmac.new(secret.encode(), b"%d." % at + body, "sha256").hexdigest()
    return f"t={at},v1={digest}"


def timestamp(at: datetime) -> str:
    return at.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


class Webhooks:
    """Sends events until each is accepted; runs on one event loop."""

    def __init__(
        self, controls: Controls, secret: str, clock: Clock, undelivered: dict[str, Webhook], save: Callable[[], None]
    ) -> None:
        self._controls, self._secret, self._clock = controls, secret, clock
        self._undelivered, self._save = undelivered, save
        self._held = dict[str, list[Webhook]]()
        self._tasks = set[asyncio.Task[None]]()
        # The receiver is on this machine: no proxy, and no certificates, which take 50 ms to load.
        no_tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self._client = httpx.AsyncClient(trust_env=False, verify=no_tls, timeout=RESPONSE_SECONDS)

    def announce(self, event: str, data: dict[str, Any]) -> None:
        """Send an event about an upload or asset, unless a fault loses it."""
        subject = {"type": event.split(".")[1], "id": data["id"]}
        webhook = Webhook(type=event, object=subject, data=data, created_at=timestamp(self._clock()))
        if self._controls.faults.loses_webhook():
            return
        self._undelivered[webhook.id] = webhook
        asset_id = data.get("asset_id", data["id"])
        due = [*self._held.pop(asset_id, []), webhook]
        if self._controls.faults.reverse_webhooks and event in AFTER_A_FILE and len(due) < EVENTS_AFTER_A_FILE:
            self._held[asset_id] = due
        else:
            self.start(self._deliver_in_order(due[::-1]))

    def resume(self) -> None:
        """Send the webhooks that were not delivered when the emulator stopped."""
        for webhook in self._undelivered.values():
            self.start(self._deliver_in_order([webhook]))

    def start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def settle(self, seconds: float) -> None:
        """Wait until no delivery is running.

        Raises:
            TimeoutError: one is still running after `seconds`.

        """
        async with asyncio.timeout(seconds):
            while self._tasks:
                await asyncio.wait(self._tasks)

    async def stop(self) -> None:
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._client.aclose()

    async def _deliver_in_order(self, webhooks: list[Webhook]) -> None:
        await asyncio.sleep(self._controls.faults.webhook_delay_seconds)
        for webhook in webhooks:
            await asyncio.gather(*(self._deliver(webhook) for _ in range(1 + self._controls.faults.repeat_webhooks)))
            del self._undelivered[webhook.id]
            self._save()

    async def _deliver(self, webhook: Webhook) -> None:
        retries = stamina.retry_context(
            on=NotDelivered,
            attempts=MAX_ATTEMPTS - len(webhook.attempts),
            timeout=None,
            wait_initial=0.5,
            wait_max=30,
            wait_jitter=0,
        )
        with suppress(NotDelivered):
            async for attempt in retries:
                with attempt:
                    await self._attempt(webhook)

    async def _attempt(self, webhook: Webhook) -> None:
        body, address = msgspec.json.encode(webhook), self._controls.webhook_url
        signature = sign(body, self._secret, int(self._clock().timestamp()))
        headers = {"Content-Type": "application/json", "Mux-Signature": signature, "User-Agent": "Mux emulator"}
        response = None
        with suppress(httpx.HTTPError, httpx.InvalidURL, TimeoutError):
            async with asyncio.timeout(RESPONSE_SECONDS):
                response = await self._client.post(address, content=body, headers=headers)
        status = response.status_code if response is not None else None
        self._controls.deliveries.append(Delivery(webhook.id, webhook.type, status, body, signature))
        if response is not None and response.is_success:
            return
        webhook.attempts.append(
            {
                "webhook_id": 1,
                "response_status_code": status,
                "response_headers": dict(response.headers) if response is not None else {},
                "response_body": response.text if response is not None else "",
                "max_attempts": MAX_ATTEMPTS,
                "id": str(uuid4()),
                "created_at": timestamp(self._clock()),
                "address": address,
            }
        )
        self._save()
        raise NotDelivered


class FaultyRest:
    """ASGI middleware on uvicorn that records REST requests and simulates faults."""

    def __init__(self, app: ASGIApp, controls: Controls) -> None:
        self._app, self._controls = app, controls

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != ScopeType.HTTP or not scope["path"].startswith("/video/"):
            await self._app(scope, receive, send)
            return
        body = await read(receive)
        query = scope["query_string"].decode()
        self._controls.requests.append(
            RecordedRequest(scope["method"], scope["path"] + (query and f"?{query}"), decoded(body))
        )

        async def replay() -> HTTPRequestEvent:
            return {"type": "http.request", "body": body, "more_body": False}

        match self._controls.faults.next_rest():
            case RestFault(kind="slow", seconds=seconds):
                if not await disconnects(receive, seconds):
                    await self._app(scope, replay, send)
            case RestFault(kind="drop_reply"):
                await self._app(scope, replay, discard)
                await close_connection(receive, send)
            case RestFault(kind="reset"):
                await close_connection(receive, send)
            case RestFault() as fault:
                await send_faulty_response(fault, send)
            case None:
                await self._app(scope, replay, send)


async def read(receive: Receive) -> bytes:
    body, more = b"", True
    while more:
        message: Any = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    return body


def decoded(body: bytes) -> object:
    try:
        return msgspec.json.decode(body)
    except msgspec.DecodeError:
        return None


async def disconnects(receive: Receive, seconds: float) -> bool:
    """Return whether the client disconnects within `seconds`."""
    try:
        async with asyncio.timeout(seconds):
            return (await receive())["type"] == "http.disconnect"
    except TimeoutError:
        return False


async def discard(_message: object) -> None:
    """Discard a message of a response that is never sent."""


async def close_connection(receive: Receive, send: Send) -> None:
    """Close the connection through uvicorn's transport, because ASGI has no message for it."""
    cast("Any", send).__self__.transport.abort()
    while (await receive())["type"] != "http.disconnect":
        pass


async def send_faulty_response(fault: RestFault, send: Send) -> None:
    status, media_type, pieces = FAULTY_RESPONSES[fault.kind]
    headers = [(b"content-type", media_type)]
    if fault.kind == "rate_limited":
        headers.append((b"retry-after", b"%d" % fault.seconds))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    for piece in pieces:
        await send({"type": "http.response.body", "body": piece, "more_body": True})
    await send({"type": "http.response.body", "body": b"", "more_body": False})
