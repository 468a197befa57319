"""Pictures in an object storage: Cloudflare R2, or anything else that speaks S3."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import datetime
from http import HTTPStatus
from typing import Any, Protocol, Self, runtime_checkable
from urllib.parse import quote, unquote, urlsplit

import structlog
from botocore import (
    exceptions as boto,  # the errors only: the client's 1.2 s of imports wait for `R2ImageStorage.opened`
)
from msgspec import Struct

from mambo.errors import DependencyFailed, DependencyTimedOut, Invalid, MamboError, Unavailable

log = structlog.get_logger(__name__)

PICTURE_TYPES = {
    "image/jpeg": "jpg",
    "image/png": "png",
    "image/webp": "webp",
    "image/gif": "gif",
    "image/avif": "avif",
}
# How a file of each type begins. puremagic would take any RIFF (a WAV, an AVI) for a WebP and JPEG 2000 for a JPEG.
SIGNATURES = {
    "image/jpeg": re.compile(rb"\xff\xd8\xff"),
    "image/png": re.compile(rb"\x89PNG\r\n\x1a\n"),
    "image/webp": re.compile(rb"RIFF.{4}WEBPVP8", re.DOTALL),
    "image/gif": re.compile(rb"GIF8[79]a"),
    "image/avif": re.compile(rb".{4}ftypavi[fs]", re.DOTALL),
}
MEGABYTE = 1024 * 1024  # as browsers and file dialogs count it
AVATAR_BYTES = 5 * MEGABYTE
THUMBNAIL_BYTES = 10 * MEGABYTE
PRESIGN_SECONDS = 300
HEAD_BYTES = 64
# Characters that stand for themselves in a URL: a key has one spelling, and no `..` to resolve.
KEY = re.compile(r"[A-Za-z0-9_-]+(/[A-Za-z0-9_-]+)*\.[a-z0-9]+")
DEFAULT_PORTS = {"http": 80, "https": 443}


class PresignedPut(Struct, frozen=True):
    """One upload that is allowed for `expires_in` seconds: a PUT with exactly these headers."""

    upload_url: str
    public_url: str
    headers: dict[str, str]
    key: str
    expires_in: int


class StoredObject(Struct, frozen=True):
    """What is known of an object without reading it: bytes, the declared type, its first `HEAD_BYTES` bytes."""

    size: int
    content_type: str
    head: bytes


class ListedObject(Struct, frozen=True):
    key: str
    size: int
    modified_at: datetime


@runtime_checkable  # Litestar checks what it injects
class ImageStorage(Protocol):
    """Where pictures are; whatever calls it raises Unavailable, DependencyTimedOut or DependencyFailed."""

    async def presign_put(
        self, key: str, content_type: str, content_length: int | None = None, *, expires_in: int = PRESIGN_SECONDS
    ) -> PresignedPut:
        """Sign an upload of that key, type and, if given, length in bytes; calls nobody.

        Raises:
            ValueError: not a key, not a picture's type, or a length or lifetime out of range.

        """

    def public_url(self, key: str) -> str:
        """Where everyone can read the object."""

    def key_of(self, url: str) -> str | None:
        """The key of one of the storage's public URLs; None for a URL on a foreign host.

        Raises:
            ValueError: the host is the storage's and the rest is not exactly a public URL, or the URL is not readable.

        """

    async def inspect(self, key: str) -> StoredObject | None:
        """Look at an object; None when there is none."""

    async def delete(self, key: str) -> None:
        """Remove an object; an absent one is fine."""

    def opened(self) -> AbstractAsyncContextManager[Self]:
        """Hold one client until the block ends."""

    def list_keys(self, prefix: str) -> AsyncIterator[ListedObject]:
        """Every object whose key begins so, in the order of the keys."""


async def require_picture(
    store: ImageStorage | None, field: str, url: str, *, folder: str, max_bytes: int, is_own: bool = False
) -> None:
    """Refuse a URL of the own storage behind which there is no picture of that folder; a foreign URL passes unseen.

    With `is_own` a foreign URL does not pass. Without a storage every URL is foreign, and passes.

    Raises:
        Invalid: the object is absent, empty, too large, of another type, or not what its type says.

    """
    if store is None:
        return
    try:
        key = store.key_of(url)
    except ValueError:
        raise Invalid.field(field, "is not a picture's address: use the public_url of an upload as it is") from None
    if key is None and not is_own:
        return
    if key is None or key.rpartition("/")[0] != folder:
        raise Invalid.field(field, "must be the public_url of a picture that was uploaded for this")
    stored = await store.inspect(key)
    if stored is None or stored.size == 0:
        raise Invalid.field(field, "has no picture behind it: upload one first")
    if stored.size > max_bytes:
        raise Invalid.field(field, f"is too large a picture: {max_bytes // MEGABYTE} MB is the most")
    signature = SIGNATURES.get(stored.content_type)
    if signature is None or not signature.match(stored.head):
        raise Invalid.field(field, "is not a readable picture: upload a JPEG, PNG, WebP, GIF or AVIF as what it is")


class R2ImageStorage:
    """A bucket, and the public domain that serves it.

    `public_domain` is a host, or a URL with what stands before the keys; `timeout_seconds` bounds each call as a whole.
    """

    def __init__(
        self,
        *,
        endpoint_url: str,
        access_key_id: str,
        secret_access_key: str,
        bucket: str,
        public_domain: str,
        timeout_seconds: float = 5,
    ) -> None:
        self._credentials = {
            "endpoint_url": endpoint_url,
            "aws_access_key_id": access_key_id,
            "aws_secret_access_key": secret_access_key,
        }
        self._client: Any  # aioboto3 makes its class at run time
        self._bucket, self._timeout_seconds = bucket, timeout_seconds
        self._public_base = (public_domain if "://" in public_domain else f"https://{public_domain}").rstrip("/")
        self._host, self._port = read_origin(self._public_base)
        base = urlsplit(self._public_base)
        origin, folder = re.escape(f"{base.scheme}://{base.netloc}"), re.escape(base.path)
        self._public_url = re.compile(f"(?i:{origin}){folder}/(?P<key>{KEY.pattern})")

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[Self]:
        """Hold one client until the block ends; it connects when first used."""
        import aioboto3  # noqa: PLC0415 - takes 1.2 s, which only a configured storage is worth
        from botocore.config import Config  # noqa: PLC0415 - the same

        config = Config(
            signature_version="s3v4",
            s3={"addressing_style": "path"},
            request_checksum_calculation="when_required",  # R2 does not know the newer checksums
            response_checksum_validation="when_required",
            retries={"mode": "standard", "max_attempts": 2},
            max_pool_connections=20,
        )
        session = aioboto3.Session()
        async with session.client("s3", region_name="auto", config=config, **self._credentials) as self._client:
            yield self

    async def presign_put(
        self, key: str, content_type: str, content_length: int | None = None, *, expires_in: int = PRESIGN_SECONDS
    ) -> PresignedPut:
        if not KEY.fullmatch(key) or content_type not in PICTURE_TYPES:
            raise ValueError("Only a picture's type and a key of plain characters are signed.")
        if not 1 <= expires_in <= PRESIGN_SECONDS or (content_length is not None and content_length < 1):
            raise ValueError("The lifetime or the length of the upload is out of range.")
        length = {} if content_length is None else {"ContentLength": content_length}
        url = await self._client.generate_presigned_url(
            "put_object",
            Params={"Bucket": self._bucket, "Key": key, "ContentType": content_type, **length},
            ExpiresIn=expires_in,
        )
        return PresignedPut(url, self.public_url(key), {"Content-Type": content_type}, key, expires_in)

    def public_url(self, key: str) -> str:
        return f"{self._public_base}/{quote(key)}"

    def key_of(self, url: str) -> str | None:
        if own := self._public_url.fullmatch(url):
            return own["key"]
        host, port = read_origin(url)
        if host == self._host and port in {self._port, *DEFAULT_PORTS.values()}:
            raise ValueError("The URL is on the storage's host and is no object's.")
        return None

    async def inspect(self, key: str) -> StoredObject | None:
        async with self._answering("inspect"):
            try:
                answer = await self._client.get_object(Bucket=self._bucket, Key=key, Range=f"bytes=0-{HEAD_BYTES - 1}")
            except boto.ClientError as error:
                match error.response["Error"]["Code"]:
                    case "NoSuchKey":
                        return None
                    case "InvalidRange":  # there is not even a first byte
                        return StoredObject(0, "", b"")
                raise
            async with answer["Body"] as body:
                size = int(answer["ContentRange"].rpartition("/")[2])
                return StoredObject(size, answer["ContentType"], await body.read())

    async def delete(self, key: str) -> None:
        async with self._answering("delete"):
            await self._client.delete_object(Bucket=self._bucket, Key=key)

    async def list_keys(self, prefix: str) -> AsyncIterator[ListedObject]:
        where = {"Bucket": self._bucket, "Prefix": prefix}
        while True:
            async with self._answering("list"):
                page = await self._client.list_objects_v2(**where)
                listed = [
                    ListedObject(found["Key"], found["Size"], found["LastModified"])
                    for found in page.get("Contents", [])
                ]
            for found in listed:
                yield found
            if "NextContinuationToken" not in page:
                return
            where["ContinuationToken"] = page["NextContinuationToken"]

    @asynccontextmanager
    async def _answering(self, operation: str) -> AsyncIterator[None]:
        """Bound a call to the storage, and say in our own words what goes wrong with it."""
        from aiohttp import ClientError as HttpError  # noqa: PLC0415 - imported with the client

        try:
            async with asyncio.timeout(self._timeout_seconds):
                yield
        except (boto.ClientError, boto.BotoCoreError, HttpError, OSError, LookupError, ValueError) as error:
            # Types and codes only: messages can hold signed URLs.
            code = error.response["Error"]["Code"] if isinstance(error, boto.ClientError) else None
            log.warning("storage failed", operation=operation, error=type(error).__name__, code=code)
            raise as_mambo_error(error) from None


def as_mambo_error(error: Exception) -> MamboError:
    """What a failed call to the storage means to the person who waits for it."""
    match error:
        case TimeoutError():
            return DependencyTimedOut("The picture storage did not answer in time. Try again in a moment.")
        case boto.ClientError():
            status = error.response["ResponseMetadata"]["HTTPStatusCode"]
            is_down = status >= HTTPStatus.INTERNAL_SERVER_ERROR or status == HTTPStatus.TOO_MANY_REQUESTS
        case boto.ConnectionError() | boto.ConnectionClosedError() | boto.ResponseStreamingError():
            is_down = True
        case boto.BotoCoreError() | LookupError() | ValueError():
            is_down = False
        case _:  # the network itself, or aiohttp in the middle of a body
            is_down = True
    if is_down:
        return Unavailable("The picture storage does not answer. Try again in a moment.")
    return DependencyFailed(
        "The picture storage refused the request: check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_BUCKET_NAME."
    )


def read_origin(url: str) -> tuple[str, int]:
    """Host and port as a browser reads them: a backslash is a slash, and one host has many spellings.

    Raises:
        ValueError: a browser could not read it either.

    """
    parts = urlsplit(url.replace("\\", "/"))
    host = unquote(parts.hostname or "").encode("idna").decode().lower().rstrip(".")
    if not host:
        raise ValueError("The URL has no host.")
    return host, parts.port or DEFAULT_PORTS.get(parts.scheme, 0)
