"""Pictures: uploaded straight to the storage, shown once they are looked at, and deleted when nothing shows them."""

import asyncio
import re
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
import sqlalchemy as sa
from asgi_lifespan import LifespanManager
from litestar import Litestar
from msgspec.structs import replace

from adapters.test_storage import PICTURES, PNG, SVG
from conftest import TurnableClock, check_envelope
from factories import Caller, School
from mambo.adapters.storage import AVATAR_BYTES, PICTURE_TYPES, THUMBNAIL_BYTES, R2ImageStorage
from mambo.app import create_app, maintenance_of
from mambo.courses.models import World
from mambo.deletions.models import DeletionKind, PendingDeletion
from mambo.devkit.storage import StorageSettings
from mambo.maintenance.service import MaintenanceService
from mambo.settings import Settings
from mambo.users.models import User
from videos.test_webhook import pending

FOREIGN = "https://pictures.example/a.png"
UUID = "[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"


async def ask(caller: Caller, folder: str = "thumbnails", **fields: Any) -> httpx.Response:
    return await caller.post("/api/uploads/presigned-url", {"file_type": "image/png", "folder": folder} | fields)


class Gallery:
    """Pictures at the storage: put there as browsers do, and seen as everyone sees them."""

    def __init__(self, browser: httpx.AsyncClient) -> None:
        self.browser = browser

    async def put(self, presigned: dict[str, Any], content: bytes = PNG, **changes: Any) -> httpx.Response:
        return await self.browser.put(
            **{"url": presigned["upload_url"], "headers": presigned["headers"], "content": content} | changes
        )

    async def upload(self, caller: Caller, folder: str = "thumbnails", content: bytes = PNG) -> str:
        """Put a picture there, of no declared length; its URL."""
        response = await ask(caller, folder)
        assert response.status_code == 200, response.text
        assert (await self.put(response.json(), content)).status_code == 200
        url: str = response.json()["public_url"]
        return url

    async def shows(self, *urls: str) -> list[bool]:
        return [(await self.browser.get(url)).status_code == 200 for url in urls]


@pytest.fixture(scope="session")
async def gallery() -> AsyncIterator[Gallery]:
    async with httpx.AsyncClient() as browser:
        yield Gallery(browser)


@pytest.fixture
def upkeep(app: Litestar) -> MaintenanceService:
    return maintenance_of(app.state.resources)


# From the upload to the page


async def test_an_avatar_that_was_put_is_shown(school: School, gallery: Gallery) -> None:
    ana = await school.person()

    presigned = (await ask(ana, "avatars", content_length=len(PNG))).json()
    put = await gallery.put(presigned)
    changed = await ana.patch("/api/users/me", {"avatar_url": presigned["public_url"]})
    profile = (await ana.get("/api/users/me")).json()
    picture = await gallery.browser.get(profile["avatar_url"])

    assert (put.status_code, changed.status_code) == (200, 200)
    assert profile["avatar_url"] == presigned["public_url"]
    assert (picture.content, picture.headers["content-type"]) == (PNG, "image/png")


PLACES: dict[str, tuple[str, str]] = {
    "a course": ("/api/admin/courses/{course}", "thumbnail_url"),
    "a course's large one": ("/api/admin/courses/{course}", "image_url"),
    "a lesson": ("/api/admin/lessons/{lesson}", "thumbnail_url"),
}


async def place_in(school: School, place: str) -> tuple[str, str]:
    """The address of a course or a lesson, and its field for a picture."""
    course = await school.world(lessons=1)
    [lesson] = await school.lessons_of(course)
    path, field = PLACES[place]
    return path.format(course=course.id, lesson=lesson.id), field


@pytest.mark.parametrize("place", PLACES)
async def test_a_thumbnail_that_was_put_is_shown(school: School, gallery: Gallery, place: str) -> None:
    """An instructor draws it, an admin sets it."""
    admin, instructor = await school.admin(), await school.instructor()
    path, field = await place_in(school, place)

    url = await gallery.upload(instructor)
    changed = await admin.patch(path, {field: url})

    assert changed.status_code == 200
    assert (await admin.get(path)).json()[field] == url
    assert await gallery.shows(url) == [True]


@pytest.mark.parametrize("file_type", PICTURES)
async def test_each_type_of_picture_is_taken(school: School, gallery: Gallery, file_type: str) -> None:
    ana = await school.person()

    presigned = (await ask(ana, "avatars", file_type=file_type)).json()
    await gallery.put(presigned, PICTURES[file_type])
    changed = await ana.patch("/api/users/me", {"avatar_url": presigned["public_url"]})

    assert changed.status_code == 200
    assert presigned["key"].endswith(f".{PICTURE_TYPES[file_type]}")


# What is signed


@pytest.mark.parametrize("folder", ["avatars", "thumbnails"])
async def test_the_server_alone_names_what_is_put_and_for_five_minutes(school: School, folder: str) -> None:
    admin = await school.admin()

    presigned = (await ask(admin, folder, content_length=100)).json()

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
async def test_nothing_but_the_five_types_is_signed(school: School, file_type: str) -> None:
    """Above all no SVG, which may hold a script."""
    ana = await school.person()

    response = await ask(ana, "avatars", file_type=file_type)

    assert (response.status_code, response.json()["errors"][0]["field"]) == (422, "file_type")
    assert await pending(school) == set()


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
async def test_a_request_that_cannot_be_signed_is_told(school: School, fields: dict[str, Any], field: str) -> None:
    admin = await school.admin()

    response = await ask(admin, **{"folder": "avatars"} | fields)

    assert (response.status_code, response.json()["errors"][0]["field"]) == (422, field)
    assert await pending(school) == set()


@pytest.mark.parametrize(("folder", "most"), [("avatars", 5_242_880), ("thumbnails", 10_485_760)])
async def test_a_picture_may_be_as_large_as_its_folder_allows(school: School, folder: str, most: int) -> None:
    response = await ask(await school.admin(), folder, content_length=most)

    assert response.status_code == 200


async def test_thumbnails_are_for_staff(school: School) -> None:
    learner, instructor = await school.person(), await school.instructor()

    refused, allowed = await ask(learner), await ask(instructor)

    assert (refused.status_code, allowed.status_code) == (403, 200)


async def test_nobody_uploads_without_signing_in(school: School) -> None:
    response = await school.client.post("/api/uploads/presigned-url", json={})

    assert response.status_code == 401


TAMPERED: dict[str, Callable[[str], dict[str, Any]]] = {
    "another key": lambda url: {"url": url.replace(".png?", ".jpg?")},
    "a longer body": lambda _: {"content": PNG + b"x"},
    "another type": lambda _: {"headers": {"Content-Type": "image/svg+xml"}, "content": SVG[: len(PNG)]},
    "a later end": lambda url: {"url": url.replace("X-Amz-Expires=300", "X-Amz-Expires=9000")},
}


@pytest.mark.parametrize("tampering", TAMPERED)
async def test_what_is_put_other_than_signed_is_not_stored(school: School, gallery: Gallery, tampering: str) -> None:
    presigned = (await ask(await school.person(), "avatars", content_length=len(PNG))).json()

    refused = await gallery.put(presigned, **TAMPERED[tampering](presigned["upload_url"]))

    assert refused.is_client_error
    urls = [presigned["public_url"], presigned["public_url"].replace(".png", ".jpg")]
    assert await gallery.shows(*urls) == [False, False]


# Which picture may be shown


async def test_an_avatar_is_ones_own(school: School, gallery: Gallery) -> None:
    ana, ben, admin = await school.person(), await school.person(), await school.admin()
    others, thumbnail = await gallery.upload(ben, "avatars"), await gallery.upload(admin)
    own = await gallery.upload(ana, "avatars")
    strange = [others, thumbnail, FOREIGN, own + "?size=small", own.replace("/avatars", "/x/../avatars")]

    refused = [await ana.patch("/api/users/me", {"avatar_url": url}) for url in strange]

    assert [response.status_code for response in refused] == [422] * 5
    assert (await ana.get("/api/users/me")).json()["avatar_url"] is None


FLAWS: dict[str, bytes | None] = {
    "nothing": None,
    "an empty file": b"",
    "a script": SVG,
    "another type than it says": PICTURES["image/gif"],
    "one byte too many": PNG.ljust(THUMBNAIL_BYTES + 1),
}


async def flawed(gallery: Gallery, caller: Caller, flaw: str, folder: str = "thumbnails") -> str:
    """The public URL of an upload that is no picture."""
    content = FLAWS[flaw]
    if content is not None:
        return await gallery.upload(caller, folder, content)
    url: str = (await ask(caller, folder)).json()["public_url"]
    return url


@pytest.mark.parametrize("flaw", FLAWS)
async def test_what_is_no_picture_is_not_shown_of_a_course_or_lesson(
    school: School, gallery: Gallery, flaw: str
) -> None:
    admin, course = await school.admin(), await school.world(lessons=1)
    [lesson] = await school.lessons_of(course)
    url = await flawed(gallery, admin, flaw)
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
async def test_what_is_no_picture_is_no_avatar(school: School, gallery: Gallery, flaw: str) -> None:
    ana = await school.person()
    url = await flawed(gallery, ana, flaw, "avatars")

    response = await ana.patch("/api/users/me", {"avatar_url": url})

    assert (response.status_code, response.json()["errors"][0]["field"]) == (422, "avatar_url")


async def test_an_avatar_has_a_limit_of_its_own(school: School, gallery: Gallery) -> None:
    ana = await school.person()
    url = await gallery.upload(ana, "avatars", PNG.ljust(AVATAR_BYTES + 1))

    response = await ana.patch("/api/users/me", {"avatar_url": url})

    assert response.status_code == 422
    assert "5 MB" in response.json()["detail"]


async def test_an_avatar_is_no_thumbnail(school: School, gallery: Gallery) -> None:
    admin = await school.admin()
    path, field = await place_in(school, "a course")

    response = await admin.patch(path, {field: await gallery.upload(admin, "avatars")})

    assert response.status_code == 422


@pytest.mark.parametrize("place", PLACES)
async def test_a_thumbnail_may_be_anyones(school: School, place: str) -> None:
    admin = await school.admin()
    path, field = await place_in(school, place)

    response = await admin.patch(path, {field: FOREIGN})

    assert (response.status_code, response.json()[field]) == (200, FOREIGN)


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("nothing", [None, ""])
async def test_a_thumbnail_is_cleared(school: School, gallery: Gallery, place: str, nothing: str | None) -> None:
    admin = await school.admin()
    path, field = await place_in(school, place)
    await admin.patch(path, {field: await gallery.upload(admin)})

    response = await admin.patch(path, {field: nothing})

    assert (response.status_code, response.json()[field]) == (200, None)


async def test_an_avatar_is_cleared(school: School, gallery: Gallery) -> None:
    ana = await school.person()
    await ana.patch("/api/users/me", {"avatar_url": await gallery.upload(ana, "avatars")})

    response = await ana.patch("/api/users/me", {"avatar_url": None})

    assert (response.status_code, response.json()["avatar_url"]) == (200, None)


# A storage that is down, slow or not there


@pytest.fixture
def closed_port() -> str:
    """An address where nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return f"http://127.0.0.1:{listener.getsockname()[1]}"


@asynccontextmanager
async def app_with(settings: Settings, clock: TurnableClock, **changes: Any) -> AsyncIterator[httpx.AsyncClient]:
    """A client of another app at the same database."""
    app = create_app(replace(settings, **changes), clock=clock, upkeep_seconds=None, memory_seconds=0)

    async def check(response: httpx.Response) -> None:
        await response.aread()
        check_envelope(response)

    transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)  # type: ignore[arg-type]
    client = httpx.AsyncClient(transport=transport, base_url="http://test", event_hooks={"response": [check]})
    async with LifespanManager(app), client:  # type: ignore[arg-type]
        yield client


def at(client: httpx.AsyncClient, caller: Caller) -> Caller:
    """The same person, calling another app."""
    return Caller(client, caller.user_id, caller.email, caller.token)


async def test_while_the_storage_is_down_everything_else_goes_on(
    school: School, gallery: Gallery, settings: Settings, clock: TurnableClock, closed_port: str
) -> None:
    admin = await school.admin()
    path, field = await place_in(school, "a course")
    shown, new = await gallery.upload(admin), await gallery.upload(admin)
    await admin.patch(path, {field: shown})

    async with app_with(settings, clock, aws_endpoint_url=closed_port) as client:
        elsewhere = at(client, admin)
        presigned = await ask(elsewhere)
        refused = await elsewhere.patch(path, {field: new})
        read = await elsewhere.get(path)
        foreign = await elsewhere.patch(path, {field: FOREIGN})

    assert presigned.status_code == 200
    assert (refused.status_code, refused.json()["code"]) == (503, "unavailable")
    assert (read.status_code, read.json()[field]) == (200, shown)
    assert foreign.status_code == 200


async def test_without_a_storage_nothing_is_uploaded_and_every_url_is_foreign(
    school: School, settings: Settings, clock: TurnableClock
) -> None:
    admin = await school.admin()
    path, field = await place_in(school, "a lesson")

    async with app_with(settings, clock, aws_endpoint_url=None) as client:
        elsewhere = at(client, admin)
        presigned = await ask(elsewhere)
        thumbnail = await elsewhere.patch(path, {field: FOREIGN})
        avatar = await elsewhere.patch("/api/users/me", {"avatar_url": FOREIGN})

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
async def test_a_storage_that_hangs_holds_no_connection_to_the_database(
    school: School, gallery: Gallery, settings: Settings, clock: TurnableClock, setter: str
) -> None:
    """There is only one here, and others get it meanwhile."""
    admin, course = await school.admin(), await school.world(lessons=1)
    [lesson] = await school.lessons_of(course)
    method, path, body, field = SETTERS[setter]
    path = path.format(course=course.id, level=lesson.level_id, lesson=lesson.id)
    url = await gallery.upload(admin, "avatars" if field == "avatar_url" else "thumbnails")
    is_asked, has_hung = asyncio.Event(), asyncio.Event()

    async def hang(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        is_asked.set()
        await has_hung.wait()
        writer.write(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(hang, "127.0.0.1", 0)
    endpoint = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with server, app_with(settings, clock, aws_endpoint_url=endpoint, database_pool_size=1) as client:
        elsewhere = at(client, admin)
        change = asyncio.create_task(elsewhere.request(method, path, json=body | {field: url}))
        await is_asked.wait()
        others = [await elsewhere.get("/api/users/me"), await elsewhere.patch("/api/users/me", {"first_name": "Eva"})]
        was_done = change.done()
        has_hung.set()
        answer = await change

    assert [response.status_code for response in others] == [200, 200]
    assert not was_done
    assert answer.status_code == 502


# A picture goes when nothing shows it


async def due(school: School, *urls: str, leased_until: datetime | None = None) -> None:
    """Let the time come at which the pictures are looked at again."""
    async with school.sessions.begin() as session:
        await session.execute(
            sa.update(PendingDeletion)
            .where(PendingDeletion.name.in_(urls))
            .values(due_at=sa.func.now(), leased_until=leased_until)
        )


async def test_a_thumbnail_that_was_replaced_is_deleted(
    school: School, gallery: Gallery, upkeep: MaintenanceService
) -> None:
    admin = await school.admin()
    path, field = await place_in(school, "a lesson")
    old, new = await gallery.upload(admin), await gallery.upload(admin)
    await admin.patch(path, {field: old})
    await upkeep.delete_due()
    await admin.patch(path, {field: new})

    before = await gallery.shows(old, new)
    tally = await upkeep.delete_due()

    assert (before, tally.failed) == ([True, True], [])
    assert await gallery.shows(old, new) == [False, True]


async def test_an_avatar_that_was_replaced_is_deleted(
    school: School, gallery: Gallery, upkeep: MaintenanceService
) -> None:
    ana = await school.person()
    old, new = await gallery.upload(ana, "avatars"), await gallery.upload(ana, "avatars")
    await ana.patch("/api/users/me", {"avatar_url": old})
    await upkeep.delete_due()  # it is in use: nothing is noted any more
    await ana.patch("/api/users/me", {"avatar_url": new})

    await upkeep.delete_due()

    assert await gallery.shows(old, new) == [False, True]


async def test_an_account_that_goes_takes_its_avatar_with_it(
    school: School, gallery: Gallery, upkeep: MaintenanceService
) -> None:
    ana = await school.person()
    avatar = await gallery.upload(ana, "avatars")
    await ana.patch("/api/users/me", {"avatar_url": avatar})
    await upkeep.delete_due()  # it is in use: nothing is noted any more
    async with school.sessions.begin() as session:
        await session.execute(sa.delete(User).where(User.id == ana.user_id))

    await upkeep.delete_due()

    assert await gallery.shows(avatar) == [False]


async def test_nothing_is_deleted_before_the_change_is_committed(
    school: School, gallery: Gallery, upkeep: MaintenanceService
) -> None:
    url = await gallery.upload(await school.admin())
    course = await school.world(thumbnail_url=url)
    await upkeep.delete_due()

    async with school.sessions() as session:
        await session.execute(sa.update(World).where(World.id == course.id).values(thumbnail_url=None))
        meanwhile = await upkeep.delete_due()
        await session.rollback()
    afterwards = await upkeep.delete_due()

    assert (meanwhile.total, afterwards.total) == (0, 0)
    assert await gallery.shows(url) == [True]


async def test_a_change_that_fails_deletes_nothing(
    school: School, gallery: Gallery, upkeep: MaintenanceService
) -> None:
    admin = await school.admin()
    old, new = await gallery.upload(admin), await gallery.upload(admin)
    course, other = await school.world(thumbnail_url=old), await school.world()
    await upkeep.delete_due()

    refused = await admin.patch(f"/api/admin/courses/{course.id}", {"thumbnail_url": new, "slug": other.slug})
    tally = await upkeep.delete_due()

    assert (refused.status_code, tally.total) == (409, 0)
    assert await gallery.shows(old, new) == [True, True]


USES: dict[str, Callable[[str], dict[str, Any]]] = {
    "its thumbnail": lambda url: {"thumbnail_url": url},
    "an image block": lambda url: {"content_json": {"blocks": [{"type": "image", "url": url}]}},
    "its notes": lambda url: {"content_json": {"notes": f"Step **one**:\n![the step]({url})"}},
    "its description": lambda url: {"description": f"As in {url}, please."},
}


@pytest.mark.parametrize("use", USES)
async def test_a_picture_that_a_lesson_still_shows_is_kept(
    school: School, gallery: Gallery, upkeep: MaintenanceService, use: str
) -> None:
    admin = await school.admin()
    url = await gallery.upload(admin)
    course = await school.world(thumbnail_url=url)
    await school.lesson(await school.level(await school.world()), **USES[use](url))
    await upkeep.delete_due()  # it is in use: nothing is noted any more
    await admin.patch(f"/api/admin/courses/{course.id}", {"thumbnail_url": None})

    tally = await upkeep.delete_due()

    assert tally.total == 0
    assert await gallery.shows(url) == [True]


@pytest.mark.parametrize("field", ["thumbnail_url", "image_url", "description"])
async def test_a_picture_that_another_course_still_shows_is_kept(
    school: School, gallery: Gallery, upkeep: MaintenanceService, field: str
) -> None:
    admin = await school.admin()
    url = await gallery.upload(admin)
    first, second = await school.world(thumbnail_url=url), await school.world()
    await admin.patch(f"/api/admin/courses/{second.id}", {field: url})
    await upkeep.delete_due()  # it is in use: nothing is noted any more

    await admin.patch(f"/api/admin/courses/{first.id}", {"thumbnail_url": None})
    kept = (await upkeep.delete_due(), await gallery.shows(url))
    await admin.delete(f"/api/admin/courses/{second.id}")
    await upkeep.delete_due()

    assert (kept[0].total, kept[1]) == (0, [True])
    assert await gallery.shows(url) == [False]


async def test_a_picture_within_a_lessons_blocks_goes_with_its_block(
    school: School, gallery: Gallery, upkeep: MaintenanceService
) -> None:
    admin = await school.admin()
    first, second = await gallery.upload(admin), await gallery.upload(admin)
    lesson = await school.lesson(await school.level(await school.world()))
    blocks = [{"type": "image", "url": first}, {"type": "image", "url": second}]
    await admin.patch(f"/api/admin/lessons/{lesson.id}", {"content_json": {"blocks": blocks}})
    await upkeep.delete_due()  # they are in use: nothing is noted any more
    await admin.patch(f"/api/admin/lessons/{lesson.id}", {"content_json": {"blocks": blocks[1:]}})

    await upkeep.delete_due()

    assert await gallery.shows(first, second) == [False, True]


@pytest.mark.parametrize("part", ["courses/{lesson.world_id}", "levels/{lesson.level_id}", "lessons/{lesson.id}"])
async def test_what_is_deleted_takes_its_pictures_with_it(
    school: School, gallery: Gallery, upkeep: MaintenanceService, part: str
) -> None:
    admin = await school.admin()
    urls = [await gallery.upload(admin) for _ in range(4)]
    course = await school.world(image_url=urls[0], thumbnail_url=urls[1])
    content = {"blocks": [{"type": "image", "url": urls[2]}]}
    lesson = await school.lesson(await school.level(course), thumbnail_url=urls[3], content_json=content)
    await upkeep.delete_due()  # they are in use: nothing is noted any more

    deleted = await admin.delete(f"/api/admin/{part.format(lesson=lesson)}")
    await upkeep.delete_due()

    is_course = part.startswith("courses")
    assert deleted.is_success
    assert await gallery.shows(*urls) == [not is_course, not is_course, False, False]


async def test_a_picture_that_was_never_used_goes_after_a_day(
    school: School, gallery: Gallery, upkeep: MaintenanceService
) -> None:
    admin = await school.admin()
    unused, used = await gallery.upload(admin), await gallery.upload(admin)
    await admin.patch(f"/api/admin/courses/{(await school.world()).id}", {"image_url": used})
    waits = await school.scalar(
        sa.select(PendingDeletion.due_at - PendingDeletion.created_at).where(PendingDeletion.name == unused)
    )

    on_the_same_day = await upkeep.delete_due()
    await due(school, unused, used)
    await upkeep.delete_due()

    assert (waits, on_the_same_day.total) == (timedelta(hours=24), 0)
    assert await gallery.shows(unused, used) == [False, True]


async def test_a_foreign_picture_is_never_deleted(school: School, gallery: Gallery, upkeep: MaintenanceService) -> None:
    """Not even where its address ends as one of ours does."""
    admin = await school.admin()
    url = await gallery.upload(admin)
    foreign = f"https://pictures.example{urlsplit(url).path}"
    course = await school.world(thumbnail_url=foreign, image_url=FOREIGN)
    await admin.patch(f"/api/admin/courses/{course.id}", {"thumbnail_url": None, "image_url": None})

    tally = await upkeep.delete_due()

    assert tally.failed == []
    assert await gallery.shows(url) == [True]
    assert await pending(school) == {(DeletionKind.PICTURE, url)}  # for nobody has used it yet


# While a picture is being deleted


@pytest.mark.parametrize("place", PLACES)
async def test_a_picture_that_is_being_deleted_is_not_shown_anew(school: School, gallery: Gallery, place: str) -> None:
    admin = await school.admin()
    path, field = await place_in(school, place)
    url = await gallery.upload(admin)
    await due(school, url, leased_until=datetime.now(UTC) + timedelta(minutes=2))

    response = await admin.patch(path, {field: url})

    assert response.status_code == 409
    assert response.json()["detail"] == (
        "This picture is being deleted at this moment, for nothing showed it: upload it again."
    )
    assert (await admin.get(path)).json()[field] is None


async def test_an_avatar_that_is_being_deleted_is_not_shown_anew(school: School, gallery: Gallery) -> None:
    ana = await school.person()
    url = await gallery.upload(ana, "avatars")
    await due(school, url, leased_until=datetime.now(UTC) + timedelta(minutes=2))

    response = await ana.patch("/api/users/me", {"avatar_url": url})

    assert response.status_code == 409


async def test_a_deletion_that_was_begun_and_never_ended_holds_nobody_up(
    school: School, gallery: Gallery, upkeep: MaintenanceService
) -> None:
    """Its worker was killed: after two minutes the picture may be shown again, and what nothing shows goes."""
    admin = await school.admin()
    shown, unused = await gallery.upload(admin), await gallery.upload(admin)
    await due(school, shown, unused, leased_until=datetime.now(UTC) - timedelta(seconds=1))

    response = await admin.patch(f"/api/admin/courses/{(await school.world()).id}", {"image_url": shown})
    await upkeep.delete_due()

    assert response.status_code == 200
    assert await gallery.shows(shown, unused) == [True, False]


async def test_a_picture_that_went_since_it_was_looked_at_is_not_shown(
    school: School, gallery: Gallery, upkeep: MaintenanceService
) -> None:
    """Between the look at the storage and the write there is time for a whole deletion."""
    admin, course = await school.admin(), await school.world()
    url = await gallery.upload(admin)
    change = f"/api/admin/courses/{course.id}"
    blocked = sa.text("SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted)")

    async with school.sessions() as session, asyncio.timeout(10):
        await session.execute(sa.select(World.id).where(World.id == course.id).with_for_update())
        setting = asyncio.create_task(admin.patch(change, {"thumbnail_url": url}))
        async with school.sessions() as watching:
            while not await watching.scalar(blocked):
                await watching.rollback()
        await due(school, url)
        await upkeep.delete_due()
        await session.rollback()
        response = await setting

    assert await gallery.shows(url) == [False]
    assert response.status_code == 409
    assert (await admin.get(change)).json()["thumbnail_url"] is None


async def test_what_is_put_again_at_a_deleted_pictures_address_goes_too(
    school: School, gallery: Gallery, upkeep: MaintenanceService
) -> None:
    """A signed address is good for five minutes; a deletion is over once the picture was seen to be gone."""
    presigned = (await ask(await school.admin())).json()
    url = presigned["public_url"]
    await gallery.put(presigned)
    seen = []

    for is_put_again in (True, False, False):
        await due(school, url)
        await upkeep.delete_due()
        seen.append((await gallery.shows(url), await pending(school)))
        if is_put_again:
            await gallery.put(presigned)

    kept = {(DeletionKind.PICTURE, url)}
    assert seen == [([False], kept), ([False], kept), ([False], set())]


async def test_a_picture_is_there_just_when_a_course_shows_it(
    school: School, gallery: Gallery, upkeep: MaintenanceService
) -> None:
    """One course lets it go while another takes it and the upkeep deletes, in whatever order."""
    admin = await school.admin()
    leaving, taking = await school.world(), await school.world()
    seen = []

    for _ in range(20):
        url = await gallery.upload(admin)
        await admin.patch(f"/api/admin/courses/{leaving.id}", {"thumbnail_url": url})
        (left, took), _ = await asyncio.gather(
            asyncio.gather(
                admin.patch(f"/api/admin/courses/{leaving.id}", {"thumbnail_url": None}),
                admin.patch(f"/api/admin/courses/{taking.id}", {"thumbnail_url": url}),
            ),
            asyncio.gather(*(upkeep.delete_due() for _ in range(3))),
        )
        while (await upkeep.delete_due()).total:
            pass
        is_shown = (await admin.get(f"/api/admin/courses/{taking.id}")).json()["thumbnail_url"] == url
        seen.append((left.status_code, took.status_code, is_shown, *await gallery.shows(url)))

    assert set(seen) <= {(200, 200, True, True), (200, 409, False, False), (200, 422, False, False)}


async def test_two_workers_carry_out_each_deletion_once(
    school: School, gallery: Gallery, upkeep: MaintenanceService
) -> None:
    admin = await school.admin()
    urls = [await gallery.upload(admin) for _ in range(8)]
    await due(school, *urls)

    tallies = await asyncio.gather(*(upkeep.delete_due() for _ in range(4)))

    assert sum(tally.done for tally in tallies) == 8
    assert await gallery.shows(*urls) == [False] * 8


async def test_a_deletion_that_fails_is_tried_again_ever_less_often(
    school: School, gallery: Gallery, upkeep: MaintenanceService, app: Litestar, storage: StorageSettings
) -> None:
    url = await gallery.upload(await school.admin())
    state = sa.select(
        PendingDeletion.attempts,
        sa.func.round(sa.extract("epoch", PendingDeletion.due_at - sa.func.now()) / 30),
        PendingDeletion.error,
    )
    seen = []

    async with R2ImageStorage(
        endpoint_url=storage.endpoint_url,
        access_key_id=storage.access_key_id,
        secret_access_key="another-secret",
        bucket=storage.bucket_name,
        public_domain=storage.public_domain,
    ).opened() as refusing:
        failing = MaintenanceService(app.state.resources.transactions, None, refusing, app.state.resources.clock)
        for _ in range(4):
            await due(school, url)
            failed = (await failing.delete_due()).failed
            async with school.sessions() as session:
                seen.append((len(failed), *(await session.execute(state)).one()))
    too_early = await upkeep.delete_due()
    await due(school, url)
    in_the_end = await upkeep.delete_due()

    assert [(failed, attempts, wait) for failed, attempts, wait, _ in seen] == [
        (1, 1, 1),
        (1, 2, 2),
        (1, 3, 4),
        (1, 4, 8),
    ]
    assert seen[0][3].startswith("The picture storage refused the request")
    assert (too_early.total, in_the_end.done) == (0, 1)
    assert await gallery.shows(url) == [False]
