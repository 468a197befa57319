"""The check of an image's URL and of the file behind it."""

from collections.abc import AsyncIterator
from uuid import uuid4

import pytest
from litestar import Litestar

from mambo.adapters.storage import R2ImageStorage
from mambo.errors import Invalid, Unavailable
from mambo.images.rules import EXTENSIONS, ImageType, check_image
from mambo.images.service import require_image
from support.media import IMAGES, PNG, SVG, ImageClient

FOLDER = "avatars"
FOREIGN = "https://example.com/avatars/a.png"
OWN = "https://media.example.com/avatars/a.png"


@pytest.fixture
def store(app: Litestar) -> R2ImageStorage:
    store: R2ImageStorage = app.state.resources.image_storage
    return store


@pytest.fixture(scope="module")
async def store_without_server() -> AsyncIterator[R2ImageStorage]:
    """A storage at https://media.example.com whose server is down."""
    storage = R2ImageStorage(
        endpoint_url="http://127.0.0.1:1",
        access_key_id="an-id",
        secret_access_key="a-secret",
        bucket="images",
        public_domain="media.example.com",
    )
    async with storage.opened() as store:
        yield store


async def put(store: R2ImageStorage, images: ImageClient, folder: str, content_type: str, body: bytes) -> str:
    """Upload a file, and return its public URL."""
    presigned = await store.presign_put(f"{folder}/{uuid4()}.png", content_type)
    response = await images.client.put(presigned.upload_url, content=body, headers=presigned.headers)
    response.raise_for_status()
    return presigned.public_url


# The file


@pytest.mark.parametrize("content_type", EXTENSIONS)
def test_an_image_of_each_type_is_accepted_up_to_the_largest_size(content_type: ImageType) -> None:
    body = IMAGES[content_type]

    check_image("avatar_url", len(body), content_type, body[:64], max_bytes=len(body))


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
        ("image/svg+xml", PNG),
    ],
)
def test_a_file_that_is_not_of_its_declared_image_type_is_refused(content_type: str, body: bytes) -> None:
    with pytest.raises(Invalid):
        check_image("avatar_url", len(body), content_type, body[:64], max_bytes=1000)


def test_an_image_over_the_largest_size_is_refused() -> None:
    with pytest.raises(Invalid, match="too large"):
        check_image("avatar_url", len(PNG), "image/png", PNG[:64], max_bytes=len(PNG) - 1)


# The URL


@pytest.mark.parametrize("content_type", EXTENSIONS)
async def test_an_uploaded_image_is_accepted(
    store: R2ImageStorage, images: ImageClient, content_type: ImageType
) -> None:
    body = IMAGES[content_type]
    url = await put(store, images, FOLDER, content_type, body)

    await require_image(store, "avatar_url", url, folder=FOLDER, max_bytes=len(body))


@pytest.mark.parametrize("body", [b"", SVG])
async def test_an_uploaded_file_that_is_no_image_is_refused(
    store: R2ImageStorage, images: ImageClient, body: bytes
) -> None:
    url = await put(store, images, FOLDER, "image/png", body)

    with pytest.raises(Invalid):
        await require_image(store, "avatar_url", url, folder=FOLDER, max_bytes=1000)


async def test_an_image_that_was_not_uploaded_is_refused(store: R2ImageStorage) -> None:
    url = store.public_url(f"{FOLDER}/{uuid4()}.png")

    with pytest.raises(Invalid) as refused:
        await require_image(store, "avatar_url", url, folder=FOLDER, max_bytes=1000)

    assert refused.value.detail == "avatar_url has no picture behind it: upload one first."


async def test_an_image_in_another_folder_is_refused(store: R2ImageStorage, images: ImageClient) -> None:
    """Such as the avatar of another person, or a thumbnail."""
    url = await put(store, images, f"avatars/{uuid4()}", "image/png", PNG)

    with pytest.raises(Invalid, match="uploaded for this"):
        await require_image(store, "avatar_url", url, folder=f"avatars/{uuid4()}", max_bytes=1000)


async def test_a_url_on_another_host_is_not_checked(store_without_server: R2ImageStorage) -> None:
    await require_image(store_without_server, "thumbnail_url", FOREIGN, folder=FOLDER, max_bytes=1)


async def test_a_url_on_another_host_is_refused_where_it_must_be_ours(store_without_server: R2ImageStorage) -> None:
    with pytest.raises(Invalid, match="uploaded for this"):
        await require_image(store_without_server, "avatar_url", FOREIGN, folder=FOLDER, max_bytes=1, is_own=True)


@pytest.mark.parametrize("url", [f"{OWN}?v=1", "https://media.example.com/x/../avatars/a.png", "https://[x"])
async def test_a_url_on_our_host_that_is_no_public_url_is_refused(
    store_without_server: R2ImageStorage, url: str
) -> None:
    """It never counts as one on another host, however a browser reads it."""
    with pytest.raises(Invalid) as refused:
        await require_image(store_without_server, "avatar_url", url, folder=FOLDER, max_bytes=1)

    assert [problem.field for problem in refused.value.errors] == ["avatar_url"]


@pytest.mark.parametrize("url", [f"{OWN}?v=1", FOREIGN])
async def test_without_a_storage_no_url_is_checked(url: str) -> None:
    await require_image(None, "avatar_url", url, folder=FOLDER, max_bytes=1)


async def test_while_the_storage_is_down_the_check_can_be_retried(store_without_server: R2ImageStorage) -> None:
    with pytest.raises(Unavailable) as raised:
        await require_image(store_without_server, "avatar_url", OWN, folder=FOLDER, max_bytes=1)

    assert raised.value.headers == {"Retry-After": "2"}
