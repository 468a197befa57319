"""Presigned uploads: which are signed, and what a signature allows."""

import re
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from factories import School
from mambo.images.rules import AVATAR_BYTES, THUMBNAIL_BYTES
from support.media import PNG, SVG, ImageClient, pending_deletions, presign

UUID = "[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"


@pytest.mark.parametrize("folder", ["avatars", "thumbnails"])
async def test_the_server_chooses_the_key_and_signs_it_for_five_minutes(school: School, folder: str) -> None:
    admin = await school.admin()

    presigned = (await presign(admin, folder, content_length=100)).json()

    query = parse_qs(urlsplit(presigned["upload_url"]).query)
    owner = f"{admin.user_id}/" if folder == "avatars" else ""
    assert re.fullmatch(f"{folder}/{owner}{UUID}[.]png", presigned["key"])
    assert presigned["public_url"].endswith(f"/{presigned['key']}")
    assert urlsplit(presigned["upload_url"]).path.endswith(f"/{presigned['key']}")
    assert query["X-Amz-SignedHeaders"] == ["content-length;content-type;host"]
    assert int(query["X-Amz-Expires"][0]) == presigned["expires_in"] <= 300
    assert (presigned["method"], presigned["headers"]) == ("PUT", {"Content-Type": "image/png"})


NOT_PICTURES = [
    *("image/svg+xml", "IMAGE/SVG+XML", "image/svg", "image/svg+xml;charset=utf-8", "image/gif+xml", "image/x-svg"),
    *("image/PNG", "image/jpg", "image/pjpeg", "image/bmp", "image/tiff", "image/heic", "image/x-icon", "image/apng"),
    *("image/png;x", "image/png; charset=utf-8", " image/png", "image/png ", "image/png\n", "image/png,text/html"),
    *("image/*", "image/", "image", "*/*", "png", "", "text/html", "text/plain", "application/xhtml+xml"),
    *("application/javascript", "application/octet-stream", "application/pdf", "video/mp4", "multipart/form-data"),
    "image/png\r\nx-amz-acl: public-read",
]


@pytest.mark.parametrize("file_type", NOT_PICTURES)
async def test_other_content_types_are_not_signed(school: School, file_type: str) -> None:
    """Most importantly no SVG, which can contain scripts."""
    ana = await school.person()

    response = await presign(ana, "avatars", file_type=file_type)

    assert (response.status_code, response.json()["errors"][0]["field"]) == (422, "file_type")
    assert await pending_deletions(school) == set()


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"folder": "videos"}, "folder"),
        ({"folder": "thumbnails/../avatars"}, "folder"),
        ({"folder": ""}, "folder"),
        ({"folder": None}, "folder"),
        ({"file_type": None}, "file_type"),
        ({"content_length": 0}, "content_length"),
        ({"content_length": -1}, "content_length"),
        ({"content_length": 1.5}, "content_length"),
        ({"content_length": AVATAR_BYTES + 1}, "content_length"),
        ({"content_length": THUMBNAIL_BYTES + 1, "folder": "thumbnails"}, "content_length"),
        ({"key": "avatars/logo.png"}, "key"),
        ({"file_name": "../../logo.png"}, "file_name"),
    ],
)
async def test_an_invalid_request_returns_422_with_the_field(
    school: School, fields: dict[str, Any], field: str
) -> None:
    admin = await school.admin()

    response = await presign(admin, **{"folder": "avatars"} | fields)

    assert (response.status_code, response.json()["errors"][0]["field"]) == (422, field)
    assert await pending_deletions(school) == set()


@pytest.mark.parametrize(("folder", "most"), [("avatars", 5_242_880), ("thumbnails", 10_485_760)])
async def test_the_largest_size_of_each_folder_is_signed(school: School, folder: str, most: int) -> None:
    response = await presign(await school.admin(), folder, content_length=most)

    assert response.status_code == 200


async def test_only_staff_may_upload_thumbnails(school: School) -> None:
    learner, instructor = await school.person(), await school.instructor()

    refused, allowed = await presign(learner), await presign(instructor)

    assert (refused.status_code, allowed.status_code) == (403, 200)


async def test_presigning_requires_a_user(school: School) -> None:
    response = await school.client.post("/api/uploads/presigned-url", json={})

    assert response.status_code == 401


TAMPERED: dict[str, Callable[[str], dict[str, Any]]] = {
    "another key": lambda url: {"url": url.replace(".png?", ".jpg?")},
    "a longer body": lambda _: {"content": PNG + b"x"},
    "another type": lambda _: {"headers": {"Content-Type": "image/svg+xml"}, "content": SVG[: len(PNG)]},
    "a later end": lambda url: {"url": url.replace("X-Amz-Expires=300", "X-Amz-Expires=9000")},
}


@pytest.mark.parametrize("tampering", TAMPERED)
async def test_an_upload_that_differs_from_what_was_signed_is_refused(
    school: School, images: ImageClient, tampering: str
) -> None:
    presigned = (await presign(await school.person(), "avatars", content_length=len(PNG))).json()

    refused = await images.put(presigned, **TAMPERED[tampering](presigned["upload_url"]))

    assert refused.is_client_error
    urls = [presigned["public_url"], presigned["public_url"].replace(".png", ".jpg")]
    assert await images.exists(*urls) == [False, False]
