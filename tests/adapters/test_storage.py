"""The image storage with a real S3 server that checks signatures, and with servers that fail."""

import asyncio
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

from mambo.adapters.storage import PresignedPut, R2ImageStorage, StoredObject
from mambo.devkit.storage import StorageSettings, embedded_storage
from mambo.errors import DependencyFailed, DependencyTimedOut, MamboError, Unavailable
from mambo.web.request_log import configure_logging
from support.media import PNG

SECRET = "a-secret-that-nobody-may-see"

# A server that works


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
    """Return a function that uploads a file as a browser does, and returns its public URL."""

    async def put(key: str, content_type: str, body: bytes) -> str:
        allowed = await store.presign_put(key, content_type)
        response = await browser.put(allowed.upload_url, content=body, headers=allowed.headers)
        response.raise_for_status()
        return allowed.public_url

    return put


async def test_an_upload_is_public_at_once_with_its_content_type(
    store: R2ImageStorage, browser: httpx.AsyncClient, key: str
) -> None:
    allowed = await store.presign_put(key, "image/png", len(PNG))

    upload = await browser.put(allowed.upload_url, content=PNG, headers=allowed.headers)
    public = await browser.get(allowed.public_url)

    assert upload.status_code == 200
    assert (public.content, public.headers["content-type"]) == (PNG, "image/png")
    assert allowed == PresignedPut(allowed.upload_url, allowed.public_url, {"Content-Type": "image/png"}, key, 300)
    assert store.key_of(allowed.public_url) == key


async def test_an_upload_can_be_inspected_listed_and_deleted(
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


async def test_deleting_an_object_that_does_not_exist_does_nothing(store: R2ImageStorage, key: str) -> None:
    await store.delete(key)

    assert await store.inspect(key) is None


async def test_inspecting_a_large_object_reads_only_its_first_bytes(
    store: R2ImageStorage, put: Callable[..., Any], key: str
) -> None:
    await put(key, "image/png", PNG + bytes(3_000_000))

    seen = await store.inspect(key)

    assert seen == StoredObject(len(PNG) + 3_000_000, "image/png", PNG[:64])


async def test_a_list_has_several_pages(tmp_path: Path) -> None:
    """S3 returns at most a thousand keys at a time."""
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
    ("key", "content_length"),
    [
        ("", None),
        ("avatars/../logo.png", None),
        ("/avatars/a.png", None),
        ("avatars//a.png", None),
        ("avatars/a b.png", None),
        ("avatars/a.png\n", None),
        ("avatars/a.png", 0),
        ("avatars/a.png", -1),
    ],
)
async def test_an_invalid_key_or_length_is_not_signed(
    store: R2ImageStorage, key: str, content_length: int | None
) -> None:
    with pytest.raises(ValueError, match=r"encoding|at least 1"):
        await store.presign_put(key, "image/png", content_length)


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
async def test_an_upload_that_differs_from_what_was_signed_stores_nothing(
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


# Public URLs


@pytest.mark.parametrize(
    ("public_domain", "url"),
    [
        ("media.example.com", "https://media.example.com/avatars/a.png"),
        ("https://media.example.com/", "https://media.example.com/avatars/a.png"),
        ("Media.Example.com", "https://MEDIA.example.COM/avatars/a.png"),
        ("http://127.0.0.1:9001/pictures", "http://127.0.0.1:9001/pictures/avatars/a.png"),
    ],
)
async def test_the_key_of_a_public_url_is_returned(settings: StorageSettings, public_domain: str, url: str) -> None:
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
INVALID = [
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
    """A storage at https://media.example.com whose server is down."""
    async with open_at("http://127.0.0.1:1") as store:
        yield store


@pytest.mark.parametrize("url", FOREIGN)
async def test_a_url_on_another_host_has_no_key(store_without_server: R2ImageStorage, url: str) -> None:
    assert store_without_server.key_of(url) is None


@pytest.mark.parametrize("url", INVALID)
async def test_a_url_on_our_host_that_is_no_public_url_is_an_error(
    store_without_server: R2ImageStorage, url: str
) -> None:
    """However a browser reads it, it is never taken for a URL on another host."""
    with pytest.raises(ValueError):  # noqa: PT011 - the message is not used
        store_without_server.key_of(url)


# A server that fails


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
async def server_that_sends(response: bytes | None) -> AsyncIterator[str]:
    """A server that sends these bytes to each client and closes the connection; with None it sends nothing."""
    released = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        if response is None:
            await released.wait()
        else:
            writer.write(response)
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
async def test_a_failure_is_raised_and_logged_without_private_data(way: str, caplog: pytest.LogCaptureFixture) -> None:
    """Neither the error nor the log contains the server's message, an address or a secret."""
    response, expected = FAILURES[way]

    async with server_that_sends(response) as address, open_at(address) as store:
        with pytest.raises(expected) as raised:
            await store.inspect("avatars/a.png")

    logged: list[Any] = [record.msg for record in caplog.records if record.name == "mambo.adapters.storage"]
    assert [entry["operation"] for entry in logged] == ["inspect"]
    assert not re.search(f"{SECRET}|127.0.0.1|avatars|Signature of", raised.value.detail + str(logged))


async def test_a_refused_list_names_the_settings_to_check() -> None:
    async with server_that_sends(failure("403 Forbidden", "AccessDenied")) as address, open_at(address) as store:
        with pytest.raises(DependencyFailed, match="AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_BUCKET_NAME"):
            _ = [found async for found in store.list_keys("avatars/")]


async def test_a_call_to_a_server_that_hangs_times_out() -> None:
    async with server_that_sends(None) as address, open_at(address, timeout_seconds=0.2) as store:
        with pytest.raises(DependencyTimedOut):
            await store.delete("avatars/a.png")


async def test_a_closed_port_is_unavailable() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]

    async with open_at(f"http://127.0.0.1:{port}") as store:
        with pytest.raises(Unavailable):
            await store.inspect("avatars/a.png")


async def test_a_wrong_secret_names_the_settings_to_check(settings: StorageSettings) -> None:
    async with open_like(settings, secret_access_key=SECRET) as store:
        with pytest.raises(DependencyFailed, match="AWS_SECRET_ACCESS_KEY") as raised:
            await store.inspect("avatars/a.png")

    assert SECRET not in raised.value.detail


async def test_signing_makes_no_call_to_the_server(store_without_server: R2ImageStorage) -> None:
    allowed = await store_without_server.presign_put("avatars/a.png", "image/png", 100)

    assert allowed.upload_url.startswith("http://127.0.0.1:1/pictures/avatars/a.png?")
    assert SECRET not in allowed.upload_url


async def test_the_client_is_imported_only_when_a_storage_is_opened() -> None:
    code = "import sys, mambo.adapters.storage; print('aiohttp' in sys.modules, 'aioboto3' in sys.modules)"

    printed = await asyncio.to_thread(subprocess.check_output, [sys.executable, "-c", code], text=True)

    assert printed == "False False\n"
