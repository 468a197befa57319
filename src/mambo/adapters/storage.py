"""Images in object storage: Cloudflare R2, or any other server that speaks S3."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import datetime
from http import HTTPStatus
from typing import Any, Protocol, Self, runtime_checkable
from urllib.parse import quote, unquote, urlsplit

import structlog

# Only the errors: the client takes 1.2 s to import, which `R2ImageStorage.opened` does.
from botocore import exceptions as boto
from msgspec import Struct

from mambo.errors import DependencyFailed, DependencyTimedOut, MamboError, Unavailable

log = structlog.get_logger(__name__)

PRESIGN_SECONDS = 300
HEAD_BYTES = 64
# Only characters that a URL does not encode: so each key has one URL, and none contains `..`.
KEY = re.compile(r"[A-Za-z0-9_-]+(/[A-Za-z0-9_-]+)*\.[a-z0-9]+")
DEFAULT_PORTS = {"http": 80, "https": 443}


class PresignedPut(Struct, frozen=True):
    """A presigned upload: a PUT with exactly these headers, within `expires_in` seconds."""

    upload_url: str
    public_url: str
    headers: dict[str, str]
    key: str
    expires_in: int


class StoredObject(Struct, frozen=True):
    """The size of an object in bytes, its declared content type, and its first `HEAD_BYTES` bytes."""

    size: int
    content_type: str
    head: bytes


class ListedObject(Struct, frozen=True):
    key: str
    size: int
    modified_at: datetime


@runtime_checkable  # Litestar checks the types of dependencies
class ImageStorage(Protocol):
    """Stores images. Each call to the server may raise Unavailable, DependencyTimedOut or DependencyFailed."""

    async def presign_put(self, key: str, content_type: str, content_length: int | None = None) -> PresignedPut:
        """Sign an upload with this key, content type and, if given, length in bytes; makes no call to the server.

        Raises:
            ValueError: the key has characters that need encoding in a URL, or the length is less than 1.

        """

    def public_url(self, key: str) -> str:
        """Return the URL at which anyone can read the object."""

    def key_of(self, url: str) -> str | None:
        """Return the key of a public URL of this storage; None if the URL is on another host.

        Raises:
            ValueError: the URL is on this storage's host, and is not exactly the public URL of a key; or it is invalid.

        """

    async def inspect(self, key: str) -> StoredObject | None:
        """Return what is known of an object, without reading all of it; None if it does not exist."""

    async def delete(self, key: str) -> None:
        """Delete an object; does nothing if it does not exist."""

    def opened(self) -> AbstractAsyncContextManager[Self]:
        """Open the client until the block ends."""

    def list_keys(self, prefix: str) -> AsyncIterator[ListedObject]:
        """Iterate over the objects whose key begins with the prefix, ordered by key."""


class R2ImageStorage:
    """A bucket, and the public domain that serves it.

    `public_domain` is a host, or the URL that precedes the keys. `timeout_seconds` limits each call as a whole.
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
        self._client: Any  # aioboto3 creates its class at run time
        self._bucket, self._timeout_seconds = bucket, timeout_seconds
        self._public_base = (public_domain if "://" in public_domain else f"https://{public_domain}").rstrip("/")
        self._host, self._port = parse_origin(self._public_base)
        base = urlsplit(self._public_base)
        origin, folder = re.escape(f"{base.scheme}://{base.netloc}"), re.escape(base.path)
        self._public_url = re.compile(f"(?i:{origin}){folder}/(?P<key>{KEY.pattern})")

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[Self]:
        """Open the client until the block ends; it connects with the first call."""
        import aioboto3  # noqa: PLC0415 - takes 1.2 s, and only a configured storage needs it
        from botocore.config import Config  # noqa: PLC0415 - the same

        config = Config(
            signature_version="s3v4",
            s3={"addressing_style": "path"},
            request_checksum_calculation="when_required",  # R2 does not support the newer checksums
            response_checksum_validation="when_required",
            retries={"mode": "standard", "max_attempts": 2},
            max_pool_connections=20,
        )
        session = aioboto3.Session()
        async with session.client("s3", region_name="auto", config=config, **self._credentials) as self._client:
            yield self

    async def presign_put(self, key: str, content_type: str, content_length: int | None = None) -> PresignedPut:
        if not KEY.fullmatch(key):
            raise ValueError("The key needs encoding in a URL.")
        if content_length is not None and content_length < 1:
            raise ValueError("The length must be at least 1.")
        length = {} if content_length is None else {"ContentLength": content_length}
        url = await self._client.generate_presigned_url(
            "put_object",
            Params={"Bucket": self._bucket, "Key": key, "ContentType": content_type, **length},
            ExpiresIn=PRESIGN_SECONDS,
        )
        return PresignedPut(url, self.public_url(key), {"Content-Type": content_type}, key, PRESIGN_SECONDS)

    def public_url(self, key: str) -> str:
        return f"{self._public_base}/{quote(key)}"

    def key_of(self, url: str) -> str | None:
        if match := self._public_url.fullmatch(url):
            return match["key"]
        host, port = parse_origin(url)
        if host == self._host and port in {self._port, *DEFAULT_PORTS.values()}:
            raise ValueError("The URL is on the storage's host, and is not the URL of an object.")
        return None

    async def inspect(self, key: str) -> StoredObject | None:
        async with self._calling("inspect"):
            try:
                response = await self._client.get_object(
                    Bucket=self._bucket, Key=key, Range=f"bytes=0-{HEAD_BYTES - 1}"
                )
            except boto.ClientError as error:
                match error.response["Error"]["Code"]:
                    case "NoSuchKey":
                        return None
                    case "InvalidRange":  # the object is empty
                        return StoredObject(0, "", b"")
                raise
            async with response["Body"] as body:
                size = int(response["ContentRange"].rpartition("/")[2])
                return StoredObject(size, response["ContentType"], await body.read())

    async def delete(self, key: str) -> None:
        async with self._calling("delete"):
            await self._client.delete_object(Bucket=self._bucket, Key=key)

    async def list_keys(self, prefix: str) -> AsyncIterator[ListedObject]:
        query = {"Bucket": self._bucket, "Prefix": prefix}
        while True:
            async with self._calling("list"):
                page = await self._client.list_objects_v2(**query)
                listed = [
                    ListedObject(found["Key"], found["Size"], found["LastModified"])
                    for found in page.get("Contents", [])
                ]
            for found in listed:
                yield found
            if "NextContinuationToken" not in page:
                return
            query["ContinuationToken"] = page["NextContinuationToken"]

    @asynccontextmanager
    async def _calling(self, operation: str) -> AsyncIterator[None]:
        """Limit the time of a call to the server, and raise its errors as our own."""
        from aiohttp import ClientError as HttpError  # noqa: PLC0415 - imported with the client

        try:
            async with asyncio.timeout(self._timeout_seconds):
                yield
        except (boto.ClientError, boto.BotoCoreError, HttpError, OSError, LookupError, ValueError) as error:
            # Only types and codes, because messages can contain signed URLs.
            code = error.response["Error"]["Code"] if isinstance(error, boto.ClientError) else None
            log.warning("storage failed", operation=operation, error=type(error).__name__, code=code)
            raise to_mambo_error(error) from None


def to_mambo_error(error: Exception) -> MamboError:
    """Return the error of a failed call, with a sentence for a person."""
    match error:
        case TimeoutError():
            return DependencyTimedOut("The picture storage did not respond in time. Try again in a moment.")
        case boto.ClientError():
            status = error.response["ResponseMetadata"]["HTTPStatusCode"]
            is_down = status >= HTTPStatus.INTERNAL_SERVER_ERROR or status == HTTPStatus.TOO_MANY_REQUESTS
        case boto.ConnectionError() | boto.ConnectionClosedError() | boto.ResponseStreamingError():
            is_down = True
        case boto.BotoCoreError() | LookupError() | ValueError():
            is_down = False
        case _:  # a network error, or one of aiohttp while it reads a body
            is_down = True
    if is_down:
        return Unavailable("The picture storage does not respond. Try again in a moment.")
    return DependencyFailed(
        "The picture storage refused the request: check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_BUCKET_NAME."
    )


def parse_origin(url: str) -> tuple[str, int]:
    r"""Return the host and port of a URL as a browser does: `\` is `/`, and the host is decoded and normalised.

    Raises:
        ValueError: a browser could not parse the URL either.

    """
    parts = urlsplit(url.replace("\\", "/"))
    host = unquote(parts.hostname or "").encode("idna").decode().lower().rstrip(".")
    if not host:
        raise ValueError("The URL has no host.")
    return host, parts.port or DEFAULT_PORTS.get(parts.scheme, 0)
