"""Setting an uploaded image: as an avatar, and as the thumbnail of a course or lesson."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from asgi_lifespan import LifespanManager
from msgspec.structs import replace

from conftest import TurnableClock, check_envelope
from factories import Caller, School
from mambo.app import create_app
from mambo.images.rules import AVATAR_BYTES, EXTENSIONS, THUMBNAIL_BYTES, ImageType
from mambo.settings import Settings
from support.media import IMAGES, PLACES, PNG, SVG, ImageClient, place_in, presign

FOREIGN = "https://pictures.example/a.png"


async def test_an_uploaded_avatar_is_in_the_profile_and_public(school: School, images: ImageClient) -> None:
    ana = await school.person()

    presigned = (await presign(ana, "avatars", content_length=len(PNG))).json()
    put = await images.put(presigned)
    changed = await ana.patch("/api/users/me", {"avatar_url": presigned["public_url"]})
    profile = (await ana.get("/api/users/me")).json()
    image = await images.client.get(profile["avatar_url"])

    assert (put.status_code, changed.status_code) == (200, 200)
    assert profile["avatar_url"] == presigned["public_url"]
    assert (image.content, image.headers["content-type"]) == (PNG, "image/png")


@pytest.mark.parametrize("place", PLACES)
async def test_an_uploaded_thumbnail_is_set_and_public(school: School, images: ImageClient, place: str) -> None:
    """An instructor uploads it, an admin sets it."""
    admin, instructor = await school.admin(), await school.instructor()
    path, field = await place_in(school, place)

    url = await images.upload(instructor)
    changed = await admin.patch(path, {field: url})

    assert changed.status_code == 200
    assert (await admin.get(path)).json()[field] == url
    assert await images.exists(url) == [True]


@pytest.mark.parametrize("file_type", IMAGES)
async def test_each_image_type_is_accepted(school: School, images: ImageClient, file_type: ImageType) -> None:
    ana = await school.person()

    presigned = (await presign(ana, "avatars", file_type=file_type)).json()
    await images.put(presigned, IMAGES[file_type])
    changed = await ana.patch("/api/users/me", {"avatar_url": presigned["public_url"]})

    assert changed.status_code == 200
    assert presigned["key"].endswith(f".{EXTENSIONS[file_type]}")


# Which images are accepted


async def test_an_avatar_must_be_an_own_upload(school: School, images: ImageClient) -> None:
    ana, ben, admin = await school.person(), await school.person(), await school.admin()
    others, thumbnail = await images.upload(ben, "avatars"), await images.upload(admin)
    own = await images.upload(ana, "avatars")
    others_urls = [others, thumbnail, FOREIGN, own + "?size=small", own.replace("/avatars", "/x/../avatars")]

    refused = [await ana.patch("/api/users/me", {"avatar_url": url}) for url in others_urls]

    assert [response.status_code for response in refused] == [422] * 5
    assert (await ana.get("/api/users/me")).json()["avatar_url"] is None


FLAWS: dict[str, bytes | None] = {
    "nothing": None,
    "an empty file": b"",
    "a script": SVG,
    "another type than it says": IMAGES["image/gif"],
    "one byte too many": PNG.ljust(THUMBNAIL_BYTES + 1),
}


async def flawed(images: ImageClient, caller: Caller, flaw: str, folder: str = "thumbnails") -> str:
    """Return the public URL of an upload that is not a valid image."""
    content = FLAWS[flaw]
    if content is not None:
        return await images.upload(caller, folder, content)
    url: str = (await presign(caller, folder)).json()["public_url"]
    return url


@pytest.mark.parametrize("flaw", FLAWS)
async def test_an_invalid_image_is_refused_for_courses_and_lessons(
    school: School, images: ImageClient, flaw: str
) -> None:
    admin, course = await school.admin(), await school.world(lessons=1)
    [lesson] = await school.lessons_of(course)
    url = await flawed(images, admin, flaw)
    new_course = {"title": "A", "slug": "a", "order_index": 0, "difficulty": "Beginner"}
    new_lesson = {"title": "A", "order_index": 0}
    attempts: list[tuple[str, str, dict[str, Any], str]] = [
        ("POST", "/api/admin/courses", new_course, "thumbnail_url"),
        ("POST", "/api/admin/courses", new_course, "image_url"),
        ("PATCH", f"/api/admin/courses/{course.id}", {}, "thumbnail_url"),
        ("PUT", f"/api/admin/courses/{course.id}", {}, "image_url"),
        ("POST", f"/api/admin/courses/{course.id}/lessons", new_lesson, "thumbnail_url"),
        ("POST", f"/api/admin/levels/{lesson.level_id}/lessons", new_lesson, "thumbnail_url"),
        ("PATCH", f"/api/admin/lessons/{lesson.id}", {}, "thumbnail_url"),
    ]

    refused = [
        (await admin.request(method, path, json=body | {field: url}), field) for method, path, body, field in attempts
    ]

    assert {(response.status_code, response.json()["errors"][0]["field"] == field) for response, field in refused} == {
        (422, True)
    }


@pytest.mark.parametrize("flaw", FLAWS)
async def test_an_invalid_image_is_refused_as_an_avatar(school: School, images: ImageClient, flaw: str) -> None:
    ana = await school.person()
    url = await flawed(images, ana, flaw, "avatars")

    response = await ana.patch("/api/users/me", {"avatar_url": url})

    assert (response.status_code, response.json()["errors"][0]["field"]) == (422, "avatar_url")


async def test_an_avatar_of_more_than_5_mb_is_refused(school: School, images: ImageClient) -> None:
    ana = await school.person()
    url = await images.upload(ana, "avatars", PNG.ljust(AVATAR_BYTES + 1))

    response = await ana.patch("/api/users/me", {"avatar_url": url})

    assert response.status_code == 422
    assert "5 MB" in response.json()["detail"]


async def test_an_avatar_is_refused_as_a_thumbnail(school: School, images: ImageClient) -> None:
    admin = await school.admin()
    path, field = await place_in(school, "a course")

    response = await admin.patch(path, {field: await images.upload(admin, "avatars")})

    assert response.status_code == 422


@pytest.mark.parametrize("place", PLACES)
async def test_a_thumbnail_may_be_on_another_host(school: School, place: str) -> None:
    admin = await school.admin()
    path, field = await place_in(school, place)

    response = await admin.patch(path, {field: FOREIGN})

    assert (response.status_code, response.json()[field]) == (200, FOREIGN)


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("nothing", [None, ""])
async def test_a_thumbnail_can_be_removed(school: School, images: ImageClient, place: str, nothing: str | None) -> None:
    admin = await school.admin()
    path, field = await place_in(school, place)
    await admin.patch(path, {field: await images.upload(admin)})

    response = await admin.patch(path, {field: nothing})

    assert (response.status_code, response.json()[field]) == (200, None)


async def test_an_avatar_can_be_removed(school: School, images: ImageClient) -> None:
    ana = await school.person()
    await ana.patch("/api/users/me", {"avatar_url": await images.upload(ana, "avatars")})

    response = await ana.patch("/api/users/me", {"avatar_url": None})

    assert (response.status_code, response.json()["avatar_url"]) == (200, None)


# When the storage is down, slow, or not configured


@pytest.fixture
def closed_port() -> str:
    """Return the URL of a port that is closed."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return f"http://127.0.0.1:{listener.getsockname()[1]}"


@asynccontextmanager
async def app_with(settings: Settings, clock: TurnableClock, **changes: Any) -> AsyncIterator[httpx.AsyncClient]:
    """Return a client of another app that uses the same database."""
    app = create_app(replace(settings, **changes), clock=clock, runs_jobs=False, memory_seconds=0)

    async def check(response: httpx.Response) -> None:
        await response.aread()
        check_envelope(response)

    transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)  # type: ignore[arg-type]
    client = httpx.AsyncClient(transport=transport, base_url="http://test", event_hooks={"response": [check]})
    async with LifespanManager(app), client:  # type: ignore[arg-type]
        yield client


def at(client: httpx.AsyncClient, caller: Caller) -> Caller:
    """Return the same person, as a caller of another app."""
    return Caller(client, caller.user_id, caller.email, caller.token)


async def test_while_the_storage_is_down_only_the_check_of_a_new_image_fails(
    school: School, images: ImageClient, settings: Settings, clock: TurnableClock, closed_port: str
) -> None:
    admin = await school.admin()
    path, field = await place_in(school, "a course")
    shown, new = await images.upload(admin), await images.upload(admin)
    await admin.patch(path, {field: shown})

    async with app_with(settings, clock, aws_endpoint_url=closed_port) as client:
        caller = at(client, admin)
        presigned = await presign(caller)
        refused = await caller.patch(path, {field: new})
        read = await caller.get(path)
        foreign = await caller.patch(path, {field: FOREIGN})

    assert presigned.status_code == 200
    assert (refused.status_code, refused.json()["code"]) == (503, "unavailable")
    assert (read.status_code, read.json()[field]) == (200, shown)
    assert foreign.status_code == 200


async def test_without_a_storage_presigning_returns_503_and_urls_are_not_checked(
    school: School, settings: Settings, clock: TurnableClock
) -> None:
    admin = await school.admin()
    path, field = await place_in(school, "a lesson")

    async with app_with(settings, clock, aws_endpoint_url=None) as client:
        caller = at(client, admin)
        presigned = await presign(caller)
        thumbnail = await caller.patch(path, {field: FOREIGN})
        avatar = await caller.patch("/api/users/me", {"avatar_url": FOREIGN})

    assert (presigned.status_code, presigned.json()["code"]) == (503, "not_configured")
    assert (thumbnail.status_code, avatar.status_code) == (200, 200)


SETTERS = {
    "an avatar": ("PATCH", "/api/users/me", {}, "avatar_url"),
    "a new course": (
        "POST",
        "/api/admin/courses",
        {"title": "A", "slug": "a", "order_index": 0, "difficulty": "Beginner"},
        "image_url",
    ),
    "a course": ("PATCH", "/api/admin/courses/{course}", {}, "thumbnail_url"),
    "a new lesson": ("POST", "/api/admin/courses/{course}/lessons", {"title": "A", "order_index": 0}, "thumbnail_url"),
    "a level's new lesson": (
        "POST",
        "/api/admin/levels/{level}/lessons",
        {"title": "A", "order_index": 0},
        "thumbnail_url",
    ),
    "a lesson": ("PATCH", "/api/admin/lessons/{lesson}", {}, "thumbnail_url"),
}


@pytest.mark.parametrize("setter", SETTERS)
async def test_no_database_connection_is_held_while_the_storage_hangs(
    school: School, images: ImageClient, settings: Settings, clock: TurnableClock, setter: str
) -> None:
    """The app has one connection, and other requests get it."""
    admin, course = await school.admin(), await school.world(lessons=1)
    [lesson] = await school.lessons_of(course)
    method, path, body, field = SETTERS[setter]
    path = path.format(course=course.id, level=lesson.level_id, lesson=lesson.id)
    url = await images.upload(admin, "avatars" if field == "avatar_url" else "thumbnails")
    is_called, may_end = asyncio.Event(), asyncio.Event()

    async def hang(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        is_called.set()
        await may_end.wait()
        writer.write(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(hang, "127.0.0.1", 0)
    endpoint = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with server, app_with(settings, clock, aws_endpoint_url=endpoint, database_pool_size=1) as client:
        caller = at(client, admin)
        change = asyncio.create_task(caller.request(method, path, json=body | {field: url}))
        await is_called.wait()
        others = [await caller.get("/api/users/me"), await caller.patch("/api/users/me", {"first_name": "Eva"})]
        was_done = change.done()
        may_end.set()
        response = await change

    assert [response.status_code for response in others] == [200, 200]
    assert not was_done
    assert response.status_code == 502
