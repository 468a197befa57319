"""Videos at Mux, through its SDK, which runs in threads."""

import asyncio
import enum
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import datetime
from functools import partial
from time import monotonic
from typing import Annotated, Any, Generic, Protocol, Self, TypeVar, runtime_checkable

import stamina
import structlog
import urllib3
from msgspec import Meta, Struct
from urllib3.exceptions import HTTPError

from mambo.adapters.breaker import Breaker
from mambo.adapters.mux_http import (
    MAX_BACKOFF_SECONDS,
    UNREACHABLE,
    CredentialsRefused,
    Refusal,
    Transport,
    UnknownId,
    decode,
    is_outage,
    may_retry,
    to_mambo_error,
)
from mambo.errors import Unavailable

log = structlog.get_logger(__name__)

THREADS = 8
ATTEMPTS = 3
OUTAGE_CALLS = 5

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
        """Return UNKNOWN for a status that Mux has added since."""
        return cls("unknown")


class DirectUpload(Struct, frozen=True):
    """An upload, and the URL to which the browser sends the file; the URL is a secret."""

    id: str
    url: str


class UploadState(Struct, frozen=True):
    """The state of an upload; it has an asset as soon as the whole file has been received."""

    id: str
    status: UploadStatus
    asset_id: str | None
    error: str | None


class Asset(Struct, frozen=True):
    """A video at Mux; `status` is `preparing`, `ready`, `errored`, or one that Mux has added since."""

    id: str
    status: str
    playback_id: str | None
    duration_seconds: float | None
    error: str | None
    passthrough: str | None
    upload_id: str | None
    created_at: datetime | None


@runtime_checkable  # Litestar checks the types of dependencies
class VideoHost(Protocol):
    """Receives videos from browsers and streams them.

    Each call ends within a deadline, and may raise Unavailable, DependencyFailed or DependencyTimedOut.
    """

    async def create_upload(self, passthrough: str, cors_origin: str, timeout_seconds: int) -> DirectUpload:
        """Create a direct upload. Its asset and all its events carry `passthrough` (up to 255 characters)."""
        ...

    async def get_upload(self, upload_id: str) -> UploadState | None:
        """Return the state of an upload; None if the host does not know the id."""
        ...

    async def get_asset(self, asset_id: str) -> Asset | None:
        """Return one video; None if the host does not know the id."""
        ...

    async def find_asset(self, upload_id: str) -> Asset | None:
        """Return the video that was created from an upload; None if there is none."""
        ...

    async def cancel_upload(self, upload_id: str) -> bool:
        """Cancel an upload; return False if it is too late, or the host does not know the id."""
        ...

    async def delete_asset(self, asset_id: str) -> None:
        """Delete a video; does nothing if the host does not know the id."""
        ...

    def list_assets(self) -> AsyncIterator[Asset]:
        """Iterate over all videos; each page has its own deadline."""
        ...

    def close(self) -> None: ...


class MuxVideo:
    """Mux, called on at most 8 threads.

    A call is tried up to 3 times before the deadline. This includes creating an upload: one whose response was lost
    never receives a file, and leaves nothing at Mux. After 5 consecutive calls that found Mux down, calls are refused
    for `recovery_seconds`; then one call at a time is tried.
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
        import mux_python  # noqa: PLC0415 - takes 0.6 s and 26 MB, and only a configured host needs it

        configuration = mux_python.Configuration(host=api_url.rstrip("/"), username=token_id, password=token_secret)
        client = mux_python.ApiClient(configuration)
        self._transport = client.rest_client.pool_manager = Transport(num_pools=1, maxsize=THREADS)
        self._uploads = mux_python.DirectUploadsApi(client)
        self._assets = mux_python.AssetsApi(client)
        self._policy = playback_policy
        self._deadline = deadline_seconds
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="mux")
        self._breaker = Breaker(
            failures=OUTAGE_CALLS,
            recovery_seconds=recovery_seconds,
            is_failure=is_outage,
            refusal=lambda seconds: Unavailable(UNREACHABLE, code="video_unavailable", retry_after=seconds),
        )
        self._retrying = stamina.AsyncRetryingCaller(
            attempts=ATTEMPTS,
            timeout=None,
            wait_initial=backoff_seconds,
            wait_jitter=backoff_seconds,
            wait_max=MAX_BACKOFF_SECONDS,
        )

    async def create_upload(self, passthrough: str, cors_origin: str, timeout_seconds: int) -> DirectUpload:
        settings = {"playback_policies": [self._policy], "passthrough": passthrough}
        body = {"cors_origin": cors_origin, "timeout": timeout_seconds, "new_asset_settings": settings}
        return decode(await self._call(self._uploads.create_direct_upload, body), Envelope[DirectUpload]).data

    async def get_upload(self, upload_id: str) -> UploadState | None:
        upload = await self._find(Envelope[UploadData], self._uploads.get_direct_upload, upload_id)
        if upload is None:
            return None
        return UploadState(upload.id, upload.status, upload.asset_id, upload.error.message if upload.error else None)

    async def get_asset(self, asset_id: str) -> Asset | None:
        asset = await self._find(Envelope[AssetData], self._assets.get_asset, asset_id)
        return self._to_asset(asset) if asset else None

    async def find_asset(self, upload_id: str) -> Asset | None:
        assets = await self._find(AssetPage, self._assets.list_assets, upload_id=upload_id)
        return self._to_asset(assets[0]) if assets else None

    async def cancel_upload(self, upload_id: str) -> bool:
        try:
            await self._call(self._uploads.cancel_direct_upload, upload_id)
        except UnknownId:
            return False
        except CredentialsRefused:
            # Mux also returns 403 for "too late". If the credentials are wrong, this call raises the same error.
            upload = await self.get_upload(upload_id)
            return upload is not None and upload.status is UploadStatus.CANCELLED
        return True

    async def delete_asset(self, asset_id: str) -> None:
        with suppress(UnknownId):
            await self._call(self._assets.delete_asset, asset_id)

    async def list_assets(self) -> AsyncIterator[Asset]:
        cursor: dict[str, str] = {}
        while True:
            page = decode(await self._call(self._assets.list_assets, limit=100, **cursor), AssetPage)
            for asset in page.data:
                yield self._to_asset(asset)
            if page.next_cursor in {None, "", cursor.get("cursor")}:
                return
            cursor = {"cursor": page.next_cursor}

    def close(self) -> None:
        """Cancel waiting calls; a thread that is in a call ends with it, at the latest at its deadline."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._transport.clear()

    def _to_asset(self, data: "AssetData") -> Asset:
        playback = min(data.playback_ids or [], key=lambda playback: playback.policy != self._policy, default=None)
        return Asset(
            id=data.id,
            status=data.status,
            playback_id=playback.id if playback else None,
            duration_seconds=data.duration,
            error=" ".join(data.errors.messages or []) or data.errors.type if data.errors else None,
            passthrough=data.passthrough,
            upload_id=data.upload_id,
            created_at=data.created_at,
        )

    async def _find(self, kind: "type[Envelope[T]]", send: Callable[..., Any], *ids: str, **options: str) -> T | None:
        try:
            return decode(await self._call(send, *ids, **options), kind).data
        except UnknownId:
            return None

    async def _call(self, send: Callable[..., Any], *arguments: object, **options: object) -> bytes:
        """Call a method of the SDK, and return the body of Mux's response.

        Raises:
            UnknownId: Mux does not know the id.
            CredentialsRefused: the status is 401 or 403.
            DependencyFailed: the response has another status, or cannot be used.
            Unavailable: Mux cannot be reached or is busy, or the circuit breaker is open.
            DependencyTimedOut: the deadline passed.

        """
        deadline = monotonic() + self._deadline
        request = partial(self._send, deadline, partial(send, *arguments, **options, _preload_content=False))
        try:
            with self._breaker:
                async with asyncio.timeout(self._deadline):
                    return await self._retrying(
                        lambda error: may_retry(error, deadline - monotonic()), self._run, request
                    )
        except (Refusal, HTTPError, TimeoutError, UnicodeEncodeError) as error:
            mambo_error = to_mambo_error(error)
            if not isinstance(mambo_error, UnknownId):
                log.warning("Mux failed", call=send.__name__, error=repr(error))
            raise mambo_error from error

    async def _run(self, request: Callable[[], bytes]) -> bytes:
        try:
            response = asyncio.get_running_loop().run_in_executor(self._threads, request)
        except RuntimeError as error:  # the host was closed between two attempts
            raise Unavailable(UNREACHABLE, code="video_unavailable") from error
        return await response

    def _send(self, deadline: float, request: Callable[..., urllib3.HTTPResponse]) -> bytes:
        if (seconds_left := deadline - monotonic()) <= 0:
            raise TimeoutError  # no thread became free in time
        return request(_request_timeout=seconds_left).data


class Envelope(Struct, Generic[T]):
    data: T


class UploadProblem(Struct):
    message: str | None = None


class UploadData(Struct):
    id: str
    status: UploadStatus
    asset_id: str | None = None
    error: UploadProblem | None = None


class Playback(Struct):
    id: str
    policy: str | None = None


class AssetProblems(Struct):
    type: str | None = None
    messages: list[str] | None = None


class AssetData(Struct):
    """The part of Mux's asset that we read; most fields are missing until the video has been analysed."""

    id: str
    status: str
    playback_ids: list[Playback] | None = None
    duration: Annotated[float, Meta(gt=-1e9, lt=1e9)] | None = None
    errors: AssetProblems | None = None
    passthrough: str | None = None
    upload_id: str | None = None
    created_at: Annotated[datetime, Meta(tz=True)] | None = None


class AssetPage(Envelope[list[AssetData]]):
    next_cursor: str | None = None
