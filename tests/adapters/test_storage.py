"""The picture storage against a real S3 server that checks signatures, and against servers that fail."""

import asyncio
import base64
import re
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit
from uuid import uuid4

import httpx
import pytest

from mambo.adapters.storage import (
    PICTURE_TYPES,
    PresignedPut,
    R2ImageStorage,
    StoredObject,
    require_picture,
)
from mambo.devkit.storage import StorageSettings, embedded_storage
from mambo.errors import DependencyFailed, DependencyTimedOut, Invalid, MamboError, Unavailable
from mambo.web.request_log import configure_logging

FOLDER = "avatars"
PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg=="
)
PICTURES = {
    "image/jpeg": b"\xff\xd8\xff\xe0\x00\x10JFIF\x00\x01\x01\x00\x00\x01\x00\x01\x00\x00",
    "image/png": PNG,
    "image/webp": b"RIFF\x24\x00\x00\x00WEBPVP8 \x18\x00\x00\x00",
    "image/gif": base64.b64decode("R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7"),
    "image/avif": b"\x00\x00\x00\x1cftypavif\x00\x00\x00\x00avifmif1miaf",
}
SVG = b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>'
SECRET = "a-secret-that-nobody-may-see"

# An S3 server that works


@pytest.fixture(scope="session")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StorageSettings]:
    with embedded_storage(tmp_path_factory.mktemp("storage")) as settings:
        yield settings


@pytest.fixture(scope="session")
async def store(settings: StorageSettings) -> AsyncIterator[R2ImageStorage]:
    async with open_like(settings) as store:
        yield store


@pytest.fixture(scope="session")
async def browser() -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient() as browser:
        yield browser


@pytest.fixture
def key() -> str:
    return f"avatars/{uuid4()}/{uuid4()}.png"


@pytest.fixture(scope="module", autouse=True)
def _logging_as_served() -> None:
    configure_logging(is_production=False)


def folder_of(key: str) -> str:
    return key.rpartition("/")[0]


def open_like(settings: StorageSettings, **changes: Any) -> AbstractAsyncContextManager[R2ImageStorage]:
    options = {
        "endpoint_url": settings.endpoint_url,
        "access_key_id": settings.access_key_id,
        "secret_access_key": settings.secret_access_key,
        "bucket": settings.bucket_name,
        "public_domain": settings.public_domain,
    }
    return R2ImageStorage(**{**options, **changes}).opened()


@pytest.fixture
def put(store: R2ImageStorage, browser: httpx.AsyncClient) -> Callable[..., Any]:
    """Uploads as a browser does, and answers the public URL."""

    async def put(key: str, content_type: str, body: bytes) -> str:
        allowed = await store.presign_put(key, content_type)
        response = await browser.put(allowed.upload_url, content=body, headers=allowed.headers)
        response.raise_for_status()
        return allowed.public_url

    return put


async def test_an_upload_is_at_once_public_under_its_type(
    store: R2ImageStorage, browser: httpx.AsyncClient, key: str
) -> None:
    allowed = await store.presign_put(key, "image/png", len(PNG))

    upload = await browser.put(allowed.upload_url, content=PNG, headers=allowed.headers)
    public = await browser.get(allowed.public_url)

    assert upload.status_code == 200
    assert (public.content, public.headers["content-type"]) == (PNG, "image/png")
    assert allowed == PresignedPut(allowed.upload_url, allowed.public_url, {"Content-Type": "image/png"}, key, 300)
    assert store.key_of(allowed.public_url) == key


async def test_an_upload_is_looked_at_listed_and_deleted(
    store: R2ImageStorage, put: Callable[..., Any], key: str
) -> None:
    await put(key, "image/png", PNG)

    seen = await store.inspect(key)
    listed = [found async for found in store.list_keys(key.rpartition("/")[0])]
    await store.delete(key)

    assert seen == StoredObject(len(PNG), "image/png", PNG[:64])
    assert [(found.key, found.size) for found in listed] == [(key, len(PNG))]
    assert datetime.now(UTC) - listed[0].modified_at < timedelta(minutes=5)
    assert await store.inspect(key) is None


async def test_deleting_what_is_absent_is_fine(store: R2ImageStorage, key: str) -> None:
    await store.delete(key)

    assert await store.inspect(key) is None


async def test_a_large_object_is_not_read_to_be_looked_at(
    store: R2ImageStorage, put: Callable[..., Any], key: str
) -> None:
    await put(key, "image/png", PNG + bytes(3_000_000))

    seen = await store.inspect(key)

    assert seen == StoredObject(len(PNG) + 3_000_000, "image/png", PNG[:64])


async def test_a_list_goes_on_over_pages(tmp_path: Path) -> None:
    """S3 answers at most a thousand keys at a time."""
    folder = tmp_path / "storage" / "pictures" / "thumbnails"
    folder.mkdir(parents=True)
    names = [f"{number:04}.png" for number in range(1001)]
    for name in names:
        (folder / name).touch()

    with embedded_storage(tmp_path) as settings:
        async with open_like(settings) as store:
            listed = [found.key async for found in store.list_keys("thumbnails/")]

    assert listed == [f"thumbnails/{name}" for name in names]


# What is signed


async def test_length_type_and_host_are_signed_for_five_minutes(store: R2ImageStorage, key: str) -> None:
    allowed = await store.presign_put(key, "image/png", 100)

    query = parse_qs(urlsplit(allowed.upload_url).query)
    assert query["X-Amz-SignedHeaders"] == ["content-length;content-type;host"]
    assert query["X-Amz-Expires"] == ["300"]


async def test_without_a_length_any_length_may_be_uploaded(store: R2ImageStorage, key: str) -> None:
    allowed = await store.presign_put(key, "image/png")

    query = parse_qs(urlsplit(allowed.upload_url).query)
    assert query["X-Amz-SignedHeaders"] == ["content-type;host"]


@pytest.mark.parametrize(
    ("key", "content_type", "options"),
    [
        ("", "image/png", {}),
        ("avatars/../logo.png", "image/png", {}),
        ("/avatars/a.png", "image/png", {}),
        ("avatars//a.png", "image/png", {}),
        ("avatars/a b.png", "image/png", {}),
        ("avatars/a.png\n", "image/png", {}),
        ("avatars/a.svg", "image/svg+xml", {}),
        ("avatars/a.png", "image/PNG", {}),
        ("avatars/a.png", "image/png; charset=x", {}),
        ("avatars/a.png", "text/html", {}),
        ("avatars/a.png", "image/png", {"content_length": 0}),
        ("avatars/a.png", "image/png", {"content_length": -1}),
        ("avatars/a.png", "image/png", {"expires_in": 0}),
        ("avatars/a.png", "image/png", {"expires_in": 301}),
    ],
)
async def test_nothing_else_than_a_picture_is_signed(
    store: R2ImageStorage, key: str, content_type: str, options: dict[str, int]
) -> None:
    with pytest.raises(ValueError, match=r"signed|out of range"):
        await store.presign_put(key, content_type, **options)


async def chunks() -> AsyncIterator[bytes]:
    yield PNG


TAMPERED: dict[str, Callable[[str], dict[str, Any]]] = {
    "another signature": lambda url: {"url": re.sub(r"(?<=X-Amz-Signature=)..", "zz", url)},
    "another type": lambda _: {"headers": {"Content-Type": "text/html"}},
    "no type": lambda _: {"headers": {}},
    "a longer body": lambda _: {"content": PNG + b"x"},
    "a shorter body": lambda _: {"content": PNG[:-1]},
    "a body in chunks": lambda _: {"content": chunks()},
    "a longer life": lambda url: {"url": url.replace("X-Amz-Expires=300", "X-Amz-Expires=3000")},
    "another key": lambda url: {"url": url.replace(".png?", "2.png?")},
    "one more argument": lambda url: {"url": url + "&x-id=PutObject"},
    "one more header": lambda _: {"headers": {"Content-Type": "image/png", "x-amz-acl": "public-read"}},
    "no signature": lambda url: {"url": url.partition("?")[0]},
}


@pytest.mark.parametrize("tampering", TAMPERED)
async def test_an_upload_other_than_signed_stores_nothing(
    store: R2ImageStorage, browser: httpx.AsyncClient, key: str, tampering: str
) -> None:
    allowed = await store.presign_put(key, "image/png", len(PNG))
    request = {"url": allowed.upload_url, "content": PNG, "headers": allowed.headers}

    response = await browser.put(**{**request, **TAMPERED[tampering](allowed.upload_url)})

    assert response.is_client_error
    assert [found async for found in store.list_keys(key.removesuffix(".png"))] == []


async def test_a_signature_expires(
    store: R2ImageStorage, browser: httpx.AsyncClient, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    signed_at = datetime.now(UTC).replace(tzinfo=None) - timedelta(seconds=301)
    monkeypatch.setattr("botocore.auth.get_current_datetime", lambda **_: signed_at)
    allowed = await store.presign_put(key, "image/png", len(PNG))
    monkeypatch.undo()

    response = await browser.put(allowed.upload_url, content=PNG, headers=allowed.headers)

    assert response.is_client_error
    assert await store.inspect(key) is None


@pytest.mark.parametrize("method", ["GET", "DELETE"])
async def test_a_signature_allows_a_put_and_no_other_method(
    store: R2ImageStorage, browser: httpx.AsyncClient, put: Callable[..., Any], key: str, method: str
) -> None:
    await put(key, "image/png", PNG)
    allowed = await store.presign_put(key, "image/png", len(PNG))

    response = await browser.request(method, allowed.upload_url, headers=allowed.headers)

    assert response.is_client_error
    assert PNG not in response.content
    assert await store.inspect(key) is not None


# Whose URL it is


@pytest.mark.parametrize(
    ("public_domain", "url"),
    [
        ("media.example.com", "https://media.example.com/avatars/a.png"),
        ("https://media.example.com/", "https://media.example.com/avatars/a.png"),
        ("Media.Example.com", "https://MEDIA.example.COM/avatars/a.png"),
        ("http://127.0.0.1:9001/pictures", "http://127.0.0.1:9001/pictures/avatars/a.png"),
    ],
)
async def test_a_public_url_leads_to_its_key(settings: StorageSettings, public_domain: str, url: str) -> None:
    async with open_like(settings, public_domain=public_domain) as store:
        key = store.key_of(url)
        allowed = await store.presign_put("avatars/a.png", "image/png")

    assert key == "avatars/a.png"
    assert allowed.public_url.lower() == url.lower()


FOREIGN = [
    "https://example.com/avatars/a.png",
    "https://media.example.com.evil.example/avatars/a.png",
    "https://evil-media.example.com/../x?y#z",
    "https://media.example.com@evil.example/avatars/a.png",
    "https://media.example.com:8443/avatars/a.png",
    "https://bücher.example/ä.png",
]
ODD = [
    "https://media.example.com",
    "https://media.example.com/",
    "https://media.example.com/avatars",
    "https://media.example.com/avatars/",
    "https://media.example.com/../x",
    "https://media.example.com/avatars/../a.png",
    "https://media.example.com/avatars/..%2fa.png",
    "https://media.example.com/avatars/%2e%2e/a.png",
    "https://media.example.com/avatars/./a.png",
    "https://media.example.com//avatars/a.png",
    "https://media.example.com/avatars/a.png?v=1",
    "https://media.example.com/avatars/a.png?",
    "https://media.example.com/avatars/a.png#x",
    "https://media.example.com/avatars/a.png%00",
    "https://media.example.com/avatars/a.png\n",
    "https://media.example.com/avatars\\a.png",
    "https://media.example.com\\avatars\\a.png",
    "https:\\\\media.example.com\\a.png",
    "https:///media.example.com/avatars/a.png",
    "http://media.example.com/avatars/a.png",
    "https://media.example.com:443/avatars/a.png",
    "https://media.example.com:80/avatars/a.png",
    "https://media.example.com:x/avatars/a.png",
    "https://media.example.com./avatars/a.png",
    "https://me@media.example.com/avatars/a.png",
    "https://MEDIA%2eexample.com/avatars/%2e%2e/a.png",
    "https://media。example.com/avatars/a.png",
    "https://\uff4dedia.example.com/avatars/a.png",
    "https://me\u00addia.example.com/avatars/a.png",
    "https://[media.example.com/avatars/a.png",
]


@pytest.fixture(scope="module")
async def store_without_server() -> AsyncIterator[R2ImageStorage]:
    """A storage under media.example.com that does not run."""
    async with open_at("http://127.0.0.1:1") as store:
        yield store


@pytest.mark.parametrize("url", FOREIGN)
async def test_a_foreign_url_passes_unseen(store_without_server: R2ImageStorage, url: str) -> None:
    await require_picture(store_without_server, "avatar_url", url, folder=FOLDER, max_bytes=1)

    assert store_without_server.key_of(url) is None


@pytest.mark.parametrize("url", ODD)
async def test_an_odd_url_of_the_own_host_never_counts_as_foreign(
    store_without_server: R2ImageStorage, url: str
) -> None:
    """However a browser may read it, it does not come round the check."""
    with pytest.raises(Invalid) as refused:
        await require_picture(store_without_server, "avatar_url", url, folder=FOLDER, max_bytes=1)

    assert [problem.field for problem in refused.value.errors] == ["avatar_url"]


@pytest.mark.parametrize("url", ["https://media.example.com/avatars/../a.png", "https://example.com/a.png"])
async def test_without_a_storage_nothing_is_looked_at(url: str) -> None:
    await require_picture(None, "avatar_url", url, folder=FOLDER, max_bytes=1)


# What counts as a picture


@pytest.mark.parametrize("content_type", PICTURE_TYPES)
async def test_a_picture_of_each_type_is_accepted_up_to_the_limit(
    store: R2ImageStorage, put: Callable[..., Any], key: str, content_type: str
) -> None:
    body = PICTURES[content_type]
    url = await put(key, content_type, body)

    await require_picture(store, "avatar_url", url, folder=folder_of(key), max_bytes=len(body))


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("image/png", b""),
        ("image/png", SVG),
        ("image/png", b"<!doctype html><script>alert(1)</script>"),
        ("image/png", b"\x89PNG"),
        ("image/png", b" " + PNG),
        ("image/jpeg", PNG),
        ("image/webp", b"RIFF\x24\x00\x00\x00WAVEfmt \x10\x00\x00\x00"),
        ("image/avif", b"\x00\x00\x00\x20ftypisom\x00\x00\x02\x00isomavc1mp41"),
        ("image/gif", b"GIF87"),
    ],
)
async def test_what_is_not_the_picture_it_says_is_refused(
    store: R2ImageStorage, put: Callable[..., Any], key: str, content_type: str, body: bytes
) -> None:
    url = await put(key, content_type, body)

    with pytest.raises(Invalid):
        await require_picture(store, "avatar_url", url, folder=folder_of(key), max_bytes=1000)


async def test_an_object_that_is_stored_as_another_type_is_refused(tmp_path: Path) -> None:
    """Such as one that an operator put there by another way."""
    (tmp_path / "storage" / "pictures" / FOLDER).mkdir(parents=True)
    (tmp_path / "storage" / "pictures" / FOLDER / "a.svg").write_bytes(PNG)

    with embedded_storage(tmp_path) as settings:
        async with open_like(settings) as store:
            with pytest.raises(Invalid):
                await require_picture(
                    store, "avatar_url", f"{settings.public_domain}/{FOLDER}/a.svg", folder=FOLDER, max_bytes=1000
                )


async def test_a_picture_that_is_absent_is_refused(store: R2ImageStorage, settings: StorageSettings, key: str) -> None:
    with pytest.raises(Invalid) as refused:
        await require_picture(
            store, "avatar_url", f"{settings.public_domain}/{key}", folder=folder_of(key), max_bytes=1000
        )

    assert refused.value.detail == "avatar_url has no picture behind it: upload one first."


async def test_a_picture_of_another_folder_is_refused(store: R2ImageStorage, put: Callable[..., Any], key: str) -> None:
    """Someone else's avatar, or a thumbnail."""
    url = await put(key, "image/png", PNG)

    with pytest.raises(Invalid, match="uploaded for this"):
        await require_picture(store, "avatar_url", url, folder=f"avatars/{uuid4()}", max_bytes=1000)


async def test_where_it_must_be_our_own_a_foreign_picture_is_refused(store_without_server: R2ImageStorage) -> None:
    with pytest.raises(Invalid, match="uploaded for this"):
        await require_picture(
            store_without_server, "avatar_url", "https://example.com/a.png", folder=FOLDER, max_bytes=1, is_own=True
        )


async def test_a_picture_over_the_limit_is_refused(store: R2ImageStorage, put: Callable[..., Any], key: str) -> None:
    url = await put(key, "image/png", PNG)

    with pytest.raises(Invalid, match="too large"):
        await require_picture(store, "avatar_url", url, folder=folder_of(key), max_bytes=len(PNG) - 1)


# A storage that fails


def open_at(endpoint_url: str, *, timeout_seconds: float = 5) -> AbstractAsyncContextManager[R2ImageStorage]:
    return R2ImageStorage(
        endpoint_url=endpoint_url,
        access_key_id="an-id",
        secret_access_key=SECRET,
        bucket="pictures",
        public_domain="media.example.com",
        timeout_seconds=timeout_seconds,
    ).opened()


@asynccontextmanager
async def answering(answer: bytes | None) -> AsyncIterator[str]:
    """A server that answers each request with these bytes and hangs up, or with None never answers."""
    released = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        if answer is None:
            await released.wait()
        else:
            writer.write(answer)
            await writer.drain()
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        released.set()


def failure(status: str, code: str) -> bytes:
    body = f"<Error><Code>{code}</Code><Message>Signature of {SECRET}</Message></Error>"
    return f"HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode()


PART = b"HTTP/1.1 206 Partial Content\r\nContent-Type: image/png\r\nContent-Length: 64\r\n"
FAILURES: dict[str, tuple[bytes, type[MamboError]]] = {
    "an internal error": (failure("500 Internal Server Error", "InternalError"), Unavailable),
    "too many requests": (failure("429 Too Many Requests", "TooManyRequests"), Unavailable),
    "a dropped connection": (b"", Unavailable),
    "a body that breaks off": (PART + b"Content-Range: bytes 0-63/90\r\n\r\nhalf", Unavailable),
    "wrong credentials": (failure("403 Forbidden", "SignatureDoesNotMatch"), DependencyFailed),
    "no bucket": (failure("404 Not Found", "NoSuchBucket"), DependencyFailed),
    "another protocol": (b"SSH-2.0-OpenSSH_9.2\r\n", DependencyFailed),
    "no range": (PART + b"\r\n" + bytes(64), DependencyFailed),
}


@pytest.mark.parametrize("way", FAILURES)
async def test_a_failing_storage_is_told_in_our_own_words(way: str, caplog: pytest.LogCaptureFixture) -> None:
    """Neither the error nor the log holds what the storage said, an address or a secret."""
    answer, expected = FAILURES[way]

    async with answering(answer) as address, open_at(address) as store:
        with pytest.raises(expected) as told:
            await store.inspect("avatars/a.png")

    logged: list[Any] = [record.msg for record in caplog.records if record.name == "mambo.adapters.storage"]
    assert [entry["operation"] for entry in logged] == ["inspect"]
    assert not re.search(f"{SECRET}|127.0.0.1|avatars|Signature of", told.value.detail + str(logged))


async def test_a_refused_list_names_the_settings_to_check() -> None:
    async with answering(failure("403 Forbidden", "AccessDenied")) as address, open_at(address) as store:
        with pytest.raises(DependencyFailed, match="AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_BUCKET_NAME"):
            _ = [found async for found in store.list_keys("avatars/")]


async def test_a_storage_that_hangs_is_given_up() -> None:
    async with answering(None) as address, open_at(address, timeout_seconds=0.2) as store:
        with pytest.raises(DependencyTimedOut):
            await store.delete("avatars/a.png")


async def test_a_storage_that_is_off_can_be_tried_again() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]

    async with open_at(f"http://127.0.0.1:{port}") as store:
        with pytest.raises(Unavailable) as told:
            await require_picture(
                store, "avatar_url", "https://media.example.com/avatars/a.png", folder=FOLDER, max_bytes=1
            )

    assert told.value.headers == {"Retry-After": "2"}


async def test_a_wrong_secret_names_the_settings(settings: StorageSettings) -> None:
    async with open_like(settings, secret_access_key=SECRET) as store:
        with pytest.raises(DependencyFailed, match="AWS_SECRET_ACCESS_KEY") as told:
            await store.inspect("avatars/a.png")

    assert SECRET not in told.value.detail


async def test_signing_needs_no_storage_that_runs(store_without_server: R2ImageStorage) -> None:
    allowed = await store_without_server.presign_put("avatars/a.png", "image/png", 100)

    assert allowed.upload_url.startswith("http://127.0.0.1:1/pictures/avatars/a.png?")
    assert SECRET not in allowed.upload_url


async def test_the_client_is_imported_only_when_a_storage_is_opened() -> None:
    code = "import sys, mambo.adapters.storage; print('aiohttp' in sys.modules, 'aioboto3' in sys.modules)"

    printed = await asyncio.to_thread(subprocess.check_output, [sys.executable, "-c", code], text=True)

    assert printed == "False False\n"
