"""An emulator of Mux for development and tests: direct uploads, assets and webhooks over HTTP.

It counts the bytes of a file and stores none: every video is the same 24 seconds long, and cannot be played.
"""

import asyncio
import base64
import re
import secrets
import socket
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from http import HTTPStatus
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, cast

import msgspec
import uuid_utils
import uvicorn
from litestar import Controller, Litestar, MediaType, Request, Response, delete, get, post, put, route
from litestar.connection import ASGIConnection
from litestar.datastructures import State
from litestar.di import NamedDependency, Provide
from litestar.enums import HttpMethod
from litestar.exceptions import (
    ClientException,
    HTTPException,
    NotAuthorizedException,
    NotFoundException,
    PermissionDeniedException,
)
from litestar.handlers import BaseRouteHandler
from litestar.params import FromPath, FromQuery
from msgspec import Meta, Struct

from mambo.clock import Clock, utc_now
from mambo.devkit.mux_webhooks import Controls, FaultyRest, Webhook, Webhooks
from mambo.devkit.mux_webhooks import Delivery as Delivery
from mambo.devkit.mux_webhooks import Faults as Faults
from mambo.devkit.mux_webhooks import RestFault as RestFault

NOTICE = "This is an emulator of Mux for development and tests, not Mux: it stores and plays no video."
NOT_A_VIDEO = "The file is not a valid video file."
CHUNK = 256 * 1024  # a resumable upload is accepted in whole multiples of this
CONTENT_RANGE = re.compile(r"bytes (?:(\d{1,15})-(\d{1,15})|\*)/(\d{1,15})")
ENCODING_TIERS = {"basic": "baseline", "plus": "smart", "premium": "premium"}
ANALYSED: dict[str, Any] = {
    "tracks": [
        {"type": "video", "max_width": 1920, "max_height": 1080, "max_frame_rate": 29.97, "duration": 23.8238},
        {
            "type": "audio",
            "status": "ready",
            "primary": True,
            "name": "Default",
            "max_channels": 2,
            "max_channel_layout": "stereo",
            "language_code": "und",
            "duration": 23.823792,
        },
    ],
    "resolution_tier": "1080p",
    "max_stored_resolution": "HD",
    "max_stored_frame_rate": 29.97,
    "duration": 23.857167,
    "aspect_ratio": "16:9",
}


class NewAssetSettings(Struct):
    """The fields of `new_asset_settings` that are validated; the others are stored and returned unchanged."""

    passthrough: Annotated[str, Meta(max_length=255)] = ""
    playback_policies: list[Literal["public", "signed", "drm"]] = []
    meta: dict[str, str] = {}
    video_quality: Literal["basic", "plus", "premium"] = "basic"
    max_resolution_tier: Literal["1080p", "1440p", "2160p"] = "1080p"


class CreateUpload(Struct):
    cors_origin: str | None = None
    timeout: Annotated[int, Meta(ge=60, le=604_800)] = 3600
    test: bool = False
    new_asset_settings: NewAssetSettings = msgspec.field(default_factory=NewAssetSettings)


class Upload(Struct, kw_only=True):
    """A direct upload; `received` is in bytes."""

    id: str
    token: str
    expires_at: float
    timeout: int
    status: Literal["waiting", "asset_created", "errored", "cancelled", "timed_out"] = "waiting"
    cors_origin: str | None
    new_asset_settings: dict[str, Any]
    test: bool
    received: int = 0
    asset_id: str | None = None
    error: dict[str, str] | None = None


class Stored(Struct):
    """The state that survives a restart; assets are in the format of webhooks."""

    uploads: dict[str, Upload] = {}
    assets: dict[str, dict[str, Any]] = {}
    undelivered: dict[str, Webhook] = {}


class MuxEmulator(Controls):
    """A running emulator.

    Any thread may use its public attributes and `settle`; the rest runs on its own event loop.
    """

    def __init__(
        self,
        url: str,
        webhook_url: str,
        webhook_secret: str,
        faults: Faults,
        folder: Path | None,
        processing_seconds: float,
        clock: Clock,
    ) -> None:
        super().__init__(webhook_url, faults)
        self.url = url
        self._processing_seconds, self._clock = processing_seconds, clock
        self._file = folder / "mux.json" if folder else None
        self._stored = Stored()
        if self._file and self._file.exists():
            self._stored = msgspec.json.decode(self._file.read_bytes(), type=Stored)
        self._webhooks = Webhooks(self, webhook_secret, clock, self._stored.undelivered, self._save)
        self._loop: asyncio.AbstractEventLoop

    def settle(self, seconds: float = 10) -> None:
        """Block until no video is being processed and every webhook is accepted, lost or given up.

        Do not call it on an event loop.

        Raises:
            TimeoutError: it takes longer than `seconds`.

        """
        asyncio.run_coroutine_threadsafe(self._webhooks.settle(seconds), self._loop).result()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Resume what an earlier run left unfinished; leave unfinished work to the next run."""
        self._loop = asyncio.get_running_loop()
        self._webhooks.resume()
        for asset in self._stored.assets.values():
            if asset["status"] == "preparing":
                self._webhooks.start(self._process(asset))
        try:
            yield
        finally:
            await self._webhooks.stop()

    # Uploads

    def create_upload(self, body: object) -> dict[str, Any]:
        """Create an upload from a decoded body.

        Raises:
            msgspec.ValidationError: Mux would reject the body.

        """
        checked = msgspec.convert(body, CreateUpload)
        upload = Upload(
            id=new_id(),
            token=secrets.token_urlsafe(24),
            expires_at=self._now() + checked.timeout,
            timeout=checked.timeout,
            cors_origin=checked.cors_origin,
            new_asset_settings=cast("dict[str, Any]", body).get("new_asset_settings", {}),
            test=checked.test,
        )
        self._stored.uploads[upload.id] = upload
        self._changed("video.upload.created", self.show(upload))
        return self.show(upload)

    def get_upload(self, upload_id: str) -> Upload:
        upload = find(self._stored.uploads, upload_id)
        if upload.status == "waiting" and self._now() >= upload.expires_at:
            upload.status = "timed_out"
        return upload

    def list_uploads(self) -> list[dict[str, Any]]:
        return [self.show(self.get_upload(upload_id)) for upload_id in newest_first(self._stored.uploads)]

    def cancel_upload(self, upload_id: str) -> dict[str, Any]:
        upload = self.get_upload(upload_id)
        if upload.status != "waiting":
            raise PermissionDeniedException("Cancellation no longer possible")
        upload.status = "cancelled"
        self._changed("video.upload.cancelled", self.show(upload))
        return self.show(upload)

    def show(self, upload: Upload) -> dict[str, Any]:
        shown: dict[str, Any] = {
            "timeout": upload.timeout,
            "status": upload.status,
            "new_asset_settings": upload.new_asset_settings,
            "id": upload.id,
            "cors_origin": upload.cors_origin,
            "url": f"{self.url}/upload/{upload.id}?token={upload.token}" if upload.status == "waiting" else None,
            "test": upload.test or None,
            "asset_id": upload.asset_id,
            "error": upload.error,
        }
        return {key: value for key, value in shown.items() if value is not None}

    def store(self, upload: Upload, size: int, content_range: str | None) -> bool:
        """Count the `size` bytes of a PUT, as Google's resumable uploads do; return whether the file is complete.

        Bytes that do not start at `upload.received` are ignored. The last bytes may be sent again, because their sender
        may have missed the response.

        Raises:
            ClientException: the range is invalid, or does not match the number of bytes.
            HTTPException: 410, the upload is not waiting for a file.

        """
        start, end, total = parse_range(content_range, upload.received) if content_range else (0, size, size)
        if upload.status == "asset_created" and content_range and end == total == upload.received:
            return True
        if upload.status != "waiting":
            raise HTTPException(f"The upload is not waiting for a file: {upload.status}.", status_code=HTTPStatus.GONE)
        if size != end - start or end > total:
            raise ClientException(f"Content-Range does not fit a body of {size} bytes.")
        if content_range is None or start == upload.received:
            upload.received = end if end == total else end // CHUNK * CHUNK
            self._save()
        if upload.received < total:
            return False
        self._finish(upload)
        return True

    def _finish(self, upload: Upload) -> None:
        if not upload.received:
            upload.status, upload.error = "errored", {"type": "invalid_input", "message": NOT_A_VIDEO}
            self._changed("video.upload.errored", self.show(upload))
            return
        asset = new_asset(upload, int(self._now()))
        self._stored.assets[asset["id"]] = asset
        upload.status, upload.asset_id = "asset_created", asset["id"]
        self._changed("video.upload.asset_created", self.show(upload))
        self._changed("video.asset.created", asset)
        self._webhooks.start(self._process(asset))

    # Assets

    def get_asset(self, asset_id: str) -> dict[str, Any]:
        return in_rest(find(self._stored.assets, asset_id))

    def list_assets(self, upload_id: str | None, cursor: str | None) -> list[dict[str, Any]]:
        """Return assets after `cursor` (an asset's id), the newest first."""
        ids = [asset_id for asset_id in newest_first(self._stored.assets) if cursor is None or asset_id < cursor]
        assets = [in_rest(self._stored.assets[asset_id]) for asset_id in ids]
        return [asset for asset in assets if upload_id in {None, asset["upload_id"]}]

    def delete_asset(self, asset_id: str) -> None:
        asset = find(self._stored.assets, asset_id)
        del self._stored.assets[asset_id]
        self._changed("video.asset.deleted", asset)

    async def _process(self, asset: dict[str, Any]) -> None:
        await asyncio.sleep(self._processing_seconds)
        if asset["id"] not in self._stored.assets:
            return
        if self.faults.processing_error is None:
            tracks = [{**track, "id": new_id()} for track in ANALYSED["tracks"]]
            asset |= {
                "status": "ready",
                "progress": {"state": "completed", "progress": 100},
                **ANALYSED,
                "tracks": tracks,
            }
        else:
            asset |= {"status": "errored", "progress": {"state": "errored", "progress": 100}}
            asset |= {"errors": {"type": "invalid_input", "messages": [self.faults.processing_error]}}
        self._changed(f"video.asset.{asset['status']}", asset)

    def _changed(self, event: str, data: dict[str, Any]) -> None:
        self._webhooks.announce(event, dict(data))
        self._save()

    def _now(self) -> float:
        return self._clock().timestamp()

    def _save(self) -> None:
        if self._file:
            draft = self._file.with_suffix(".new")
            draft.write_bytes(msgspec.json.encode(self._stored))
            draft.replace(self._file)


T = TypeVar("T")


def new_id() -> str:
    """Return an id as long as Mux's, of the same characters, ordered by time."""
    return uuid_utils.uuid7().hex + secrets.token_hex(6)


def newest_first(objects: dict[str, Any]) -> list[str]:
    return sorted(objects, reverse=True)


def find(objects: dict[str, T], an_id: str) -> T:
    if not (an_id.isascii() and an_id.isalnum()):
        raise ClientException("Failed to parse ID")
    if an_id not in objects:
        raise NotFoundException("The requested resource either doesn't exist or you don't have access to it.")
    return objects[an_id]


def parse_range(content_range: str, received: int) -> tuple[int, int, int]:
    """Return start, end and total; a query (`bytes */total`) starts and ends at `received`."""
    match = CONTENT_RANGE.fullmatch(content_range)
    if match is None:
        raise ClientException("Content-Range is neither `bytes first-last/total` nor `bytes */total`.")
    first, last, total = match.groups()
    return (int(first), int(last) + 1, int(total)) if first else (received, received, int(total))


def new_asset(upload: Upload, now: int) -> dict[str, Any]:
    given = upload.new_asset_settings
    settings = msgspec.convert(given, NewAssetSettings)
    return {
        "upload_id": upload.id,
        "status": "preparing",
        "progress": {"state": "ingesting", "progress": 0},
        "playback_ids": [{"policy": policy, "id": new_id()} for policy in settings.playback_policies],
        "mp4_support": "none",
        "max_resolution_tier": settings.max_resolution_tier,
        "master_access": "none",
        "ingest_type": "on_demand_direct_upload",
        "id": new_id(),
        "encoding_tier": ENCODING_TIERS[settings.video_quality],
        "video_quality": settings.video_quality,
        "created_at": now,
        **{key: given[key] for key in ("passthrough", "meta") if key in given},
        **({"test": True} if upload.test else {}),
    }


def in_rest(asset: dict[str, Any]) -> dict[str, Any]:
    """Return an asset in the format of REST, where `created_at` is a string."""
    return {**asset, "created_at": str(asset["created_at"])}


Emulator = NamedDependency[MuxEmulator]
Limit = FromQuery[Annotated[int, Meta(ge=1, le=100)]]
PageNumber = FromQuery[Annotated[int, Meta(ge=1)]]


def envelope(data: object, **more: object) -> dict[str, Any]:
    return {"data": data, **more, "emulator": True}


def requires_token(connection: ASGIConnection[Any, Any, Any, Any], _handler: BaseRouteHandler) -> None:
    given, expected = connection.headers.get("authorization", ""), connection.app.state.authorization
    if not secrets.compare_digest(given.encode(), expected.encode()):
        raise NotAuthorizedException("Unauthorized request")


class Rest(Controller):
    path = "/video/v1"
    guards = (requires_token,)

    @post("/uploads")
    async def create_upload(self, request: Request[Any, Any, Any], mux: Emulator) -> dict[str, Any]:
        return envelope(mux.create_upload(msgspec.json.decode(await request.body())))

    @get("/uploads")
    async def list_uploads(self, mux: Emulator, limit: Limit = 25, page: PageNumber = 1) -> dict[str, Any]:
        return envelope(mux.list_uploads()[limit * (page - 1) :][:limit])

    @get("/uploads/{upload_id:str}")
    async def get_upload(self, upload_id: FromPath[str], mux: Emulator) -> dict[str, Any]:
        return envelope(mux.show(mux.get_upload(upload_id)))

    @put("/uploads/{upload_id:str}/cancel")
    async def cancel_upload(self, upload_id: FromPath[str], mux: Emulator) -> dict[str, Any]:
        return envelope(mux.cancel_upload(upload_id))

    @get("/assets")
    async def list_assets(
        self,
        mux: Emulator,
        limit: Limit = 25,
        page: PageNumber = 1,
        cursor: FromQuery[str | None] = None,
        upload_id: FromQuery[str | None] = None,
    ) -> dict[str, Any]:
        rest = mux.list_assets(upload_id, cursor)[limit * (page - 1) :]
        return envelope(rest[:limit], next_cursor=rest[limit - 1]["id"] if len(rest) > limit else None)

    @get("/assets/{asset_id:str}")
    async def get_asset(self, asset_id: FromPath[str], mux: Emulator) -> dict[str, Any]:
        return envelope(mux.get_asset(asset_id))

    @delete("/assets/{asset_id:str}")
    async def delete_asset(self, asset_id: FromPath[str], mux: Emulator) -> None:
        mux.delete_asset(asset_id)


class FileUpload(Controller):
    """The address to which a browser sends the file; its token comes from `create_upload`."""

    path = "/upload/{upload_id:str}"

    @put(request_max_body_size=None, status_code=HTTPStatus.OK)
    async def put_file(
        self, request: Request[Any, Any, Any], upload_id: FromPath[str], mux: Emulator, token: FromQuery[str] = ""
    ) -> Response[bytes]:
        upload = mux.get_upload(upload_id)
        if not secrets.compare_digest(token.encode(), upload.token.encode()):
            raise PermissionDeniedException("The address of the upload is not the one that was given.")
        headers = cors_headers(upload, request)
        size = 0
        async for piece in request.stream():
            size += len(piece)
        try:
            is_whole = mux.store(mux.get_upload(upload_id), size, request.headers.get("content-range"))
        except HTTPException as refusal:
            refusal.headers = headers
            raise
        if not is_whole and upload.received:
            headers["Range"] = f"bytes=0-{upload.received - 1}"
        return Response(b"", status_code=200 if is_whole else 308, headers=headers, media_type=MediaType.TEXT)

    @route(http_method=HttpMethod.OPTIONS, status_code=HTTPStatus.NO_CONTENT)
    async def preflight(
        self, request: Request[Any, Any, Any], upload_id: FromPath[str], mux: Emulator
    ) -> Response[None]:
        return Response(None, status_code=204, headers=cors_headers(mux.get_upload(upload_id), request))


def cors_headers(upload: Upload, request: Request[Any, Any, Any]) -> dict[str, str]:
    """Return the CORS headers for the upload's own origin."""
    origin = request.headers.get("origin")
    if origin is None or upload.cors_origin not in {origin, "*"}:
        return {"Vary": "Origin"}
    return {
        "Access-Control-Allow-Origin": origin,
        "Access-Control-Allow-Methods": "PUT",
        "Access-Control-Allow-Headers": "Content-Type, Content-Range",
        "Access-Control-Expose-Headers": "Range",
        "Vary": "Origin",
    }


class Switches(Controller):
    """Routes that Mux does not have: what this is, and the faults to simulate."""

    path = "/emulator"

    @get(media_type=MediaType.TEXT)
    async def introduce(self) -> str:
        return NOTICE

    @get("/faults")
    async def get_faults(self, mux: Emulator) -> Faults:
        return mux.faults

    @put("/faults")
    async def set_faults(self, request: Request[Any, Any, Any], mux: Emulator) -> Faults:
        mux.faults = msgspec.json.decode(await request.body(), type=Faults)
        return mux.faults


def on_http_error(_request: Request[Any, Any, Any], error: HTTPException) -> Response[dict[str, Any]]:
    return refuse(error.status_code, error.detail, error.headers)


def on_invalid_body(_request: Request[Any, Any, Any], error: msgspec.DecodeError) -> Response[dict[str, Any]]:
    return refuse(400, str(error))


def refuse(status: int, message: str, headers: dict[str, str] | None = None) -> Response[dict[str, Any]]:
    """Return an error in Mux's format."""
    kind = "invalid_parameters" if status == HTTPStatus.BAD_REQUEST else HTTPStatus(status).name.lower()
    body = {"error": {"type": kind, "messages": [message]}, "emulator": True}
    return Response(body, status_code=status, headers=headers, media_type=MediaType.JSON)


@contextmanager
def mux_emulator(  # noqa: PLR0913 - the options of an emulator
    *,
    token_id: str,
    token_secret: str,
    webhook_secret: str,
    webhook_url: str,
    folder: Path | None = None,
    processing_seconds: float = 1.0,
    port: int = 0,
    faults: Faults | None = None,
    clock: Clock = utc_now,
) -> Iterator[MuxEmulator]:
    """Serve on loopback in a thread with its own event loop until the block ends; `folder` stores the state.

    Raises:
        OSError: the port is taken, or the folder cannot be used.
        msgspec.DecodeError: the stored state is of another version.

    """
    if folder:
        folder.mkdir(parents=True, exist_ok=True)
    with socket.create_server(("127.0.0.1", port)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        mux = MuxEmulator(url, webhook_url, webhook_secret, faults or Faults(), folder, processing_seconds, clock)
        ready = threading.Event()
        app = create_app(mux, f"{token_id}:{token_secret}", ready)
        server = uvicorn.Server(
            uvicorn.Config(
                FaultyRest(app, mux),
                lifespan="on",
                log_config=None,
                access_log=False,
                proxy_headers=False,  # its wrapper would hide the connection that a fault closes
                headers=[("X-Mux-Emulator", "true")],
                timeout_keep_alive=75,  # longer than clients keep idle connections
                timeout_graceful_shutdown=1,
            )
        )
        thread = threading.Thread(target=server.run, args=([listener],), name="mux emulator")
        thread.start()
        try:
            ready.wait()
            yield mux
        finally:
            server.should_exit = True
            thread.join()


def create_app(mux: MuxEmulator, credentials: str, ready: threading.Event) -> Litestar:
    @asynccontextmanager
    async def running(_app: Litestar) -> AsyncIterator[None]:
        async with mux.running():
            ready.set()
            yield

    return Litestar(
        route_handlers=[Rest, FileUpload, Switches],
        dependencies={"mux": Provide(lambda: mux, sync_to_thread=False)},
        exception_handlers={HTTPException: on_http_error, msgspec.DecodeError: on_invalid_body},
        state=State({"authorization": f"Basic {base64.b64encode(credentials.encode()).decode()}"}),
        lifespan=[running],
        openapi_config=None,
        logging_config=None,
    )
