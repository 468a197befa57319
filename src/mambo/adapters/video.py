"""Where videos live: Mux, through its SDK in threads, and never longer than a deadline."""

import asyncio
import enum
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import datetime
from functools import partial
from http import HTTPStatus
from io import BytesIO
from math import ceil
from time import monotonic
from typing import Annotated, Any, Generic, Protocol, Self, TypeVar, cast, runtime_checkable

import msgspec
import stamina
import structlog
import urllib3
from msgspec import Meta, Struct
from urllib3.exceptions import HTTPError, InvalidHeader, NewConnectionError, ProtocolError, SSLError
from urllib3.exceptions import TimeoutError as RequestTimeout

from mambo.adapters.breaker import Breaker
from mambo.errors import DependencyFailed, DependencyTimedOut, MamboError, Unavailable

log = structlog.get_logger(__name__)

THREADS = 8
CONNECT_SECONDS = 2.0
MAX_BODY = 1_000_000
MAX_RETRY_AFTER = 3600
BACKOFF_MAX = 0.5
SUCCESSES, REFUSALS, OUTAGES = range(200, 300), range(400, 500), range(500, 600)
UNREACHABLE = "Mux cannot be reached. Try again in a moment."

T = TypeVar("T")


class UploadStatus(enum.StrEnum):
    WAITING = "waiting"
    ASSET_CREATED = "asset_created"
    ERRORED = "errored"
    CANCELLED = "cancelled"
    TIMED_OUT = "timed_out"
    UNKNOWN = "unknown"

    @classmethod
    def _missing_(cls, _value: object) -> Self:
        """A word that Mux has added since."""
        return cls("unknown")


class DirectUpload(Struct, frozen=True):
    """Where the browser sends the file; the URL is a secret."""

    id: str
    url: str


class UploadState(Struct, frozen=True):
    """How far an upload is; it has an asset once all bytes have arrived."""

    id: str
    status: UploadStatus
    asset_id: str | None
    error: str | None


class Asset(Struct, frozen=True):
    """A video at Mux: `preparing`, `ready`, `errored`, or a word that Mux has added since."""

    id: str
    status: str
    playback_id: str | None
    duration_seconds: float | None
    error: str | None
    passthrough: str | None
    upload_id: str | None
    created_at: datetime | None


@runtime_checkable  # Litestar checks what it injects
class VideoHost(Protocol):
    """Takes videos from browsers and plays them.

    Every call may raise Unavailable, DependencyFailed or DependencyTimedOut, and ends within a deadline.
    """

    async def create_upload(self, passthrough: str, cors_origin: str, timeout_seconds: int) -> DirectUpload:
        """Open a direct upload; `passthrough` (up to 255 characters) comes back with the asset and its events."""
        ...

    async def get_upload(self, upload_id: str) -> UploadState | None:
        """How far an upload is; None if the host does not know it."""
        ...

    async def get_asset(self, asset_id: str) -> Asset | None:
        """One video; None if the host does not know it."""
        ...

    async def find_asset(self, upload_id: str) -> Asset | None:
        """The video that came of an upload; None if there is none."""
        ...

    async def cancel_upload(self, upload_id: str) -> bool:
        """Whether the upload is cancelled now; False if it is too late, or the host does not know it."""
        ...

    async def delete_asset(self, asset_id: str) -> None:
        """Delete a video; one that the host does not know counts as deleted."""
        ...

    def list_assets(self) -> AsyncIterator[Asset]:
        """Every video, page by page; each page has a deadline of its own."""
        ...

    def close(self) -> None: ...


class MuxVideo:
    """Mux, asked on threads of its own, at most 8 at a time.

    A call is tried up to 3 times before the deadline, creating too: a lost upload without bytes leaves nothing behind.
    After 5 calls in a row that found Mux down, callers are refused at once for `recovery_seconds`; then one may try.
    """

    def __init__(
        self,
        *,
        token_id: str,
        token_secret: str,
        api_url: str = "https://api.mux.com",
        playback_policy: str = "public",
        deadline_seconds: float = 5.0,
        backoff_seconds: float = 0.1,
        recovery_seconds: float = 30.0,
    ) -> None:
        import mux_python  # noqa: PLC0415 -- 0.6 s and 26 MB, which only those pay who have videos

        configuration = mux_python.Configuration(host=api_url.rstrip("/"), username=token_id, password=token_secret)
        client = mux_python.ApiClient(configuration)
        self._transport = client.rest_client.pool_manager = Transport(num_pools=1, maxsize=THREADS)
        self._uploads = mux_python.DirectUploadsApi(client)
        self._assets = mux_python.AssetsApi(client)
        self._policy = playback_policy
        self._deadline = deadline_seconds
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="mux")
        self._breaker = Breaker(
            failures=5,
            recovery_seconds=recovery_seconds,
            is_failure=is_outage,
            refusal=lambda seconds: Unavailable(UNREACHABLE, code="video_unavailable", retry_after=seconds),
        )
        self._retrying = stamina.AsyncRetryingCaller(
            attempts=3, timeout=None, wait_initial=backoff_seconds, wait_jitter=backoff_seconds, wait_max=BACKOFF_MAX
        )

    async def create_upload(self, passthrough: str, cors_origin: str, timeout_seconds: int) -> DirectUpload:
        settings = {"playback_policies": [self._policy], "passthrough": passthrough}
        body = {"cors_origin": cors_origin, "timeout": timeout_seconds, "new_asset_settings": settings}
        return decode(await self._call(self._uploads.create_direct_upload, body), Envelope[DirectUpload]).data

    async def get_upload(self, upload_id: str) -> UploadState | None:
        upload = await self._find(Envelope[UploadAnswer], self._uploads.get_direct_upload, upload_id)
        if upload is None:
            return None
        return UploadState(upload.id, upload.status, upload.asset_id, upload.error.message if upload.error else None)

    async def get_asset(self, asset_id: str) -> Asset | None:
        answer = await self._find(Envelope[AssetAnswer], self._assets.get_asset, asset_id)
        return self._asset(answer) if answer else None

    async def find_asset(self, upload_id: str) -> Asset | None:
        answers = await self._find(AssetPage, self._assets.list_assets, upload_id=upload_id)
        return self._asset(answers[0]) if answers else None

    async def cancel_upload(self, upload_id: str) -> bool:
        try:
            await self._call(self._uploads.cancel_direct_upload, upload_id)
        except Unknown:
            return False
        except CredentialsRefused:
            # Mux says 403 for "too late" too; with bad credentials this asks in vain and raises as well.
            upload = await self.get_upload(upload_id)
            return upload is not None and upload.status is UploadStatus.CANCELLED
        return True

    async def delete_asset(self, asset_id: str) -> None:
        with suppress(Unknown):
            await self._call(self._assets.delete_asset, asset_id)

    async def list_assets(self) -> AsyncIterator[Asset]:
        cursor: dict[str, str] = {}
        while True:
            page = decode(await self._call(self._assets.list_assets, limit=100, **cursor), AssetPage)
            for answer in page.data:
                yield self._asset(answer)
            if page.next_cursor in {None, "", cursor.get("cursor")}:
                return
            cursor = {"cursor": page.next_cursor}

    def close(self) -> None:
        """Drop what waits; a thread that still hangs ends with its own request, at the latest after the deadline."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._transport.clear()

    def _asset(self, answer: "AssetAnswer") -> Asset:
        playback = min(answer.playback_ids or [], key=lambda playback: playback.policy != self._policy, default=None)
        return Asset(
            id=answer.id,
            status=answer.status,
            playback_id=playback.id if playback else None,
            duration_seconds=answer.duration,
            error=" ".join(answer.errors.messages or []) or answer.errors.type if answer.errors else None,
            passthrough=answer.passthrough,
            upload_id=answer.upload_id,
            created_at=answer.created_at,
        )

    async def _find(self, kind: "type[Envelope[T]]", send: Callable[..., Any], *ids: str, **options: str) -> T | None:
        try:
            return decode(await self._call(send, *ids, **options), kind).data
        except Unknown:
            return None

    async def _call(self, send: Callable[..., Any], *arguments: object, **options: object) -> bytes:
        """The body of Mux's answer to one call of the SDK.

        Raises:
            Unknown: Mux does not know the id.
            CredentialsRefused: it says 401 or 403.
            DependencyFailed: it says anything else that is of no use.
            Unavailable: it cannot be reached, is busy, or was down for the last callers.
            DependencyTimedOut: the deadline passed.

        """
        ends = monotonic() + self._deadline
        request = partial(self._send, ends, partial(send, *arguments, **options, _preload_content=False))
        try:
            with self._breaker:
                async with asyncio.timeout(self._deadline):
                    return await self._retrying(lambda error: may_retry(error, ends - monotonic()), self._run, request)
        except (Refusal, HTTPError, TimeoutError, UnicodeEncodeError) as error:
            known = as_mambo_error(error)
            if not isinstance(known, Unknown):
                log.warning("Mux failed", call=send.__name__, error=repr(error))
            raise known from error

    async def _run(self, request: Callable[[], bytes]) -> bytes:
        try:
            answer = asyncio.get_running_loop().run_in_executor(self._threads, request)
        except RuntimeError as error:  # closed in the pause before another attempt
            raise Unavailable(UNREACHABLE, code="video_unavailable") from error
        return await answer

    def _send(self, ends: float, request: Callable[..., urllib3.HTTPResponse]) -> bytes:
        if (seconds_left := ends - monotonic()) <= 0:
            raise TimeoutError  # it waited for a thread all the while
        return request(_request_timeout=seconds_left).data


class Transport(urllib3.PoolManager):
    """Takes the network from the SDK, which reads without bounds and trips over answers that it does not expect."""

    def urlopen(  # type: ignore[override] # as the SDK calls it
        self, method: str, url: str, *, timeout: urllib3.Timeout, **options: object
    ) -> urllib3.HTTPResponse:
        """Answer a success, its body read to the end.

        Raises:
            Refusal: any other status.
            HTTPError, TimeoutError: no whole answer within the time.
            DependencyFailed: a body larger than 1 MB.

        """
        seconds = cast("float", timeout.total)
        ends = monotonic() + seconds
        timeout = urllib3.Timeout(total=seconds, connect=CONNECT_SECONDS)
        options |= {"timeout": timeout, "preload_content": False, "retries": False}
        try:
            response = super().urlopen(method, url, redirect=False, **options)
        except SSLError as error:
            raise ProtocolError(str(error)) from error  # the SDK answers an SSLError with an AttributeError
        body = bytearray()
        try:
            # One read of the socket each; a compressed body, which nobody asked for, stays as it is.
            while chunk := response.read1(1 << 16, decode_content=False):
                body += chunk
                if len(body) > MAX_BODY:
                    raise unusable()
                if monotonic() > ends:
                    raise TimeoutError
        finally:
            response.close()
        if response.status not in SUCCESSES:
            raise Refusal(response.status, bytes(body), response.headers.get("Retry-After"))
        return urllib3.HTTPResponse(BytesIO(body), status=response.status)


class Unknown(DependencyFailed):
    """Mux does not know the id."""


class CredentialsRefused(DependencyFailed):
    """Mux does not take the token, or says 403 for another reason."""

    code = "video_credentials"


class Refusal(Exception):
    """Mux answered with another status than a success; `retry_after` is in seconds."""

    def __init__(self, status: int, body: bytes, retry_after: str | None = None) -> None:
        super().__init__(status)  # repr goes to the log, and the body must not
        self.status = status
        self.body = body
        self.retry_after: int | None = None
        with suppress(InvalidHeader, ValueError, OverflowError):
            if retry_after:
                self.retry_after = min(ceil(urllib3.Retry().parse_retry_after(retry_after)), MAX_RETRY_AFTER)


def is_outage(_kind: type[Exception], error: Exception) -> bool:
    """Whether a failed call tells that Mux is down, rather than that it did not like the request."""
    return isinstance(error, HTTPError | TimeoutError) or (isinstance(error, Refusal) and error.status in OUTAGES)


def may_retry(error: Exception, seconds_left: float) -> bool | float:
    """Whether to ask again, or after how many seconds if Mux says so; never when the deadline would come first."""
    match error:
        case Refusal(status=429 | 503, retry_after=int(seconds)):
            return float(seconds) if seconds < seconds_left else False
        case Refusal(status=status):
            return (status == HTTPStatus.TOO_MANY_REQUESTS or status in OUTAGES) and seconds_left > BACKOFF_MAX
        case HTTPError():
            return seconds_left > BACKOFF_MAX
    return False


def as_mambo_error(error: Exception) -> MamboError:
    """What went wrong between us and Mux, in a sentence for an admin."""
    match error:
        case Refusal(status=401 | 403) | UnicodeEncodeError():  # a token with such characters cannot even be sent
            return CredentialsRefused("Mux refuses our credentials: check MUX_TOKEN_ID and MUX_TOKEN_SECRET.")
        case Refusal(status=429) | Refusal(status=503, retry_after=int()):
            return Unavailable(
                "Mux is busy. Try again in a moment.", code="video_busy", retry_after=error.retry_after or 2
            )
        case Refusal(status=status, body=body) if status in REFUSALS:
            complaint = complaint_in(body) or f"status {status}"
            is_unknown = status == HTTPStatus.NOT_FOUND or "Failed to parse ID" in complaint
            return (Unknown if is_unknown else DependencyFailed)(f"Mux refuses this: {complaint[:170].rstrip('. ')}.")
        case Refusal():
            return unusable()
        case TimeoutError() | RequestTimeout() if not isinstance(error, NewConnectionError):
            return DependencyTimedOut("Mux did not answer in time. Try again in a moment.")
    return Unavailable(UNREACHABLE, code="video_unavailable")


def unusable() -> DependencyFailed:
    return DependencyFailed("Mux answered something that cannot be used. Try again in a moment.")


def complaint_in(body: bytes) -> str:
    """Mux's own words on one line, without what could disturb a terminal; empty if there are none."""
    with suppress(DependencyFailed):
        words = " ".join(" ".join(decode(body, Complaint).error.messages or []).split())
        return "".join(character for character in words if character.isprintable())
    return ""


class Envelope(Struct, Generic[T]):
    data: T


class UploadProblem(Struct):
    message: str | None = None


class UploadAnswer(Struct):
    id: str
    status: UploadStatus
    asset_id: str | None = None
    error: UploadProblem | None = None


class Playback(Struct):
    id: str
    policy: str | None = None


class Problems(Struct):
    type: str | None = None
    messages: list[str] | None = None


class AssetAnswer(Struct):
    """What is read of Mux's asset; most of it is missing until the video is analysed."""

    id: str
    status: str
    playback_ids: list[Playback] | None = None
    duration: Annotated[float, Meta(gt=-1e9, lt=1e9)] | None = None
    errors: Problems | None = None
    passthrough: str | None = None
    upload_id: str | None = None
    created_at: Annotated[datetime, Meta(tz=True)] | None = None


class AssetPage(Envelope[list[AssetAnswer]]):
    next_cursor: str | None = None


class Complaint(Struct):
    error: Problems


def decode(body: bytes, kind: type[T]) -> T:
    """Read Mux's JSON; numbers may come as text, and times as seconds.

    Raises:
        DependencyFailed: it is not what is expected.

    """
    try:
        return msgspec.json.decode(body, type=kind, strict=False)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise unusable() from error
