"""Images are deleted when nothing shows them, and never while something does."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

import pytest
import sqlalchemy as sa
from litestar import Litestar

from factories import School
from mambo.adapters.storage import R2ImageStorage
from mambo.courses.models import World
from mambo.deletions.models import DeletionKind, PendingDeletion
from mambo.devkit.storage import StorageSettings
from mambo.maintenance.service import MaintenanceService
from mambo.users.models import User
from support.media import PLACES, ImageClient, make_due, pending_deletions, place_in, presign, run_deletions

FOREIGN = "https://pictures.example/a.png"


async def test_a_replaced_thumbnail_is_deleted(
    school: School, images: ImageClient, maintenance: MaintenanceService
) -> None:
    admin = await school.admin()
    path, field = await place_in(school, "a lesson")
    old, new = await images.upload(admin), await images.upload(admin)
    await admin.patch(path, {field: old})
    await run_deletions(school, maintenance)
    await admin.patch(path, {field: new})

    before = await images.exists(old, new)
    result = await run_deletions(school, maintenance)

    assert (before, result.failures) == ([True, True], [])
    assert await images.exists(old, new) == [False, True]


async def test_a_replaced_avatar_is_deleted(
    school: School, images: ImageClient, maintenance: MaintenanceService
) -> None:
    ana = await school.person()
    old, new = await images.upload(ana, "avatars"), await images.upload(ana, "avatars")
    await ana.patch("/api/users/me", {"avatar_url": old})
    await run_deletions(school, maintenance)  # it is in use: its pending deletion is removed
    await ana.patch("/api/users/me", {"avatar_url": new})

    await run_deletions(school, maintenance)

    assert await images.exists(old, new) == [False, True]


async def test_the_avatar_of_a_deleted_account_is_deleted(
    school: School, images: ImageClient, maintenance: MaintenanceService
) -> None:
    ana = await school.person()
    avatar = await images.upload(ana, "avatars")
    await ana.patch("/api/users/me", {"avatar_url": avatar})
    await run_deletions(school, maintenance)  # it is in use: its pending deletion is removed
    async with school.sessions.begin() as session:
        await session.execute(sa.delete(User).where(User.id == ana.user_id))

    await run_deletions(school, maintenance)

    assert await images.exists(avatar) == [False]


async def test_an_image_is_not_deleted_before_the_change_is_committed(
    school: School, images: ImageClient, maintenance: MaintenanceService
) -> None:
    url = await images.upload(await school.admin())
    course = await school.world(thumbnail_url=url)
    await run_deletions(school, maintenance)

    async with school.sessions() as session:
        await session.execute(sa.update(World).where(World.id == course.id).values(thumbnail_url=None))
        during = await run_deletions(school, maintenance)
        await session.rollback()
    afterwards = await run_deletions(school, maintenance)

    assert (during.done, afterwards.done) == (0, 0)
    assert await images.exists(url) == [True]


async def test_a_refused_change_deletes_no_image(
    school: School, images: ImageClient, maintenance: MaintenanceService
) -> None:
    admin = await school.admin()
    old, new = await images.upload(admin), await images.upload(admin)
    course, other = await school.world(thumbnail_url=old), await school.world()
    await run_deletions(school, maintenance)

    refused = await admin.patch(f"/api/admin/courses/{course.id}", {"thumbnail_url": new, "slug": other.slug})
    result = await run_deletions(school, maintenance)

    assert (refused.status_code, result.done) == (409, 0)
    assert await images.exists(old, new) == [True, True]


USES: dict[str, Callable[[str], dict[str, Any]]] = {
    "its thumbnail": lambda url: {"thumbnail_url": url},
    "an image block": lambda url: {"content_json": {"blocks": [{"type": "image", "url": url}]}},
    "its notes": lambda url: {"content_json": {"notes": f"Step **one**:\n![the step]({url})"}},
    "its description": lambda url: {"description": f"As in {url}, please."},
}


@pytest.mark.parametrize("use", USES)
async def test_an_image_that_a_lesson_shows_is_kept(
    school: School, images: ImageClient, maintenance: MaintenanceService, use: str
) -> None:
    admin = await school.admin()
    url = await images.upload(admin)
    course = await school.world(thumbnail_url=url)
    await school.lesson(await school.level(await school.world()), **USES[use](url))
    await run_deletions(school, maintenance)  # it is in use: its pending deletion is removed
    await admin.patch(f"/api/admin/courses/{course.id}", {"thumbnail_url": None})

    await run_deletions(school, maintenance)

    assert await images.exists(url) == [True]
    assert await pending_deletions(school) == set()


@pytest.mark.parametrize("field", ["thumbnail_url", "image_url", "description"])
async def test_an_image_that_another_course_shows_is_kept(
    school: School, images: ImageClient, maintenance: MaintenanceService, field: str
) -> None:
    admin = await school.admin()
    url = await images.upload(admin)
    first, second = await school.world(thumbnail_url=url), await school.world()
    await admin.patch(f"/api/admin/courses/{second.id}", {field: url})
    await run_deletions(school, maintenance)  # it is in use: its pending deletion is removed

    await admin.patch(f"/api/admin/courses/{first.id}", {"thumbnail_url": None})
    await run_deletions(school, maintenance)
    before = await images.exists(url)
    await admin.delete(f"/api/admin/courses/{second.id}")
    await run_deletions(school, maintenance)

    assert (before, await images.exists(url)) == ([True], [False])


async def test_the_image_of_a_removed_content_block_is_deleted(
    school: School, images: ImageClient, maintenance: MaintenanceService
) -> None:
    admin = await school.admin()
    first, second = await images.upload(admin), await images.upload(admin)
    lesson = await school.lesson(await school.level(await school.world()))
    blocks = [{"type": "image", "url": first}, {"type": "image", "url": second}]
    await admin.patch(f"/api/admin/lessons/{lesson.id}", {"content_json": {"blocks": blocks}})
    await run_deletions(school, maintenance)  # they are in use: their pending deletions are removed
    await admin.patch(f"/api/admin/lessons/{lesson.id}", {"content_json": {"blocks": blocks[1:]}})

    await run_deletions(school, maintenance)

    assert await images.exists(first, second) == [False, True]


@pytest.mark.parametrize("part", ["courses/{lesson.world_id}", "levels/{lesson.level_id}", "lessons/{lesson.id}"])
async def test_the_images_of_a_deleted_course_level_or_lesson_are_deleted(
    school: School, images: ImageClient, maintenance: MaintenanceService, part: str
) -> None:
    admin = await school.admin()
    urls = [await images.upload(admin) for _ in range(4)]
    course = await school.world(image_url=urls[0], thumbnail_url=urls[1])
    content = {"blocks": [{"type": "image", "url": urls[2]}]}
    lesson = await school.lesson(await school.level(course), thumbnail_url=urls[3], content_json=content)
    await run_deletions(school, maintenance)  # they are in use: their pending deletions are removed

    deleted = await admin.delete(f"/api/admin/{part.format(lesson=lesson)}")
    await run_deletions(school, maintenance)

    is_course = part.startswith("courses")
    assert deleted.is_success
    assert await images.exists(*urls) == [not is_course, not is_course, False, False]


async def test_an_image_that_is_not_used_for_a_day_is_deleted(
    school: School, images: ImageClient, maintenance: MaintenanceService
) -> None:
    admin = await school.admin()
    unused, used = await images.upload(admin), await images.upload(admin)
    await admin.patch(f"/api/admin/courses/{(await school.world()).id}", {"image_url": used})
    waits = await school.scalar(
        sa.select(PendingDeletion.due_at - PendingDeletion.created_at).where(PendingDeletion.name == unused)
    )

    await run_deletions(school, maintenance)
    on_the_same_day = await images.exists(unused, used)
    await make_due(school, unused, used)
    await run_deletions(school, maintenance)

    assert (waits, on_the_same_day) == (timedelta(hours=24), [True, True])
    assert await images.exists(unused, used) == [False, True]


async def test_an_image_on_another_host_is_never_deleted(
    school: School, images: ImageClient, maintenance: MaintenanceService
) -> None:
    """Not even if its path is that of one of our images."""
    admin = await school.admin()
    url = await images.upload(admin)
    foreign = f"https://pictures.example{urlsplit(url).path}"
    course = await school.world(thumbnail_url=foreign, image_url=FOREIGN)
    await admin.patch(f"/api/admin/courses/{course.id}", {"thumbnail_url": None, "image_url": None})

    result = await run_deletions(school, maintenance)

    assert result.failures == []
    assert await images.exists(url) == [True]
    assert await pending_deletions(school) == {(DeletionKind.IMAGE, url)}  # because nothing shows it yet


# While an image is being deleted


@pytest.mark.parametrize("place", PLACES)
async def test_an_image_that_is_being_deleted_cannot_be_set(school: School, images: ImageClient, place: str) -> None:
    admin = await school.admin()
    path, field = await place_in(school, place)
    url = await images.upload(admin)
    await make_due(school, url, locked_until=datetime.now(UTC) + timedelta(minutes=2))

    response = await admin.patch(path, {field: url})

    assert response.status_code == 409
    assert response.json()["detail"] == ("This picture is being deleted, because nothing showed it: upload it again.")
    assert (await admin.get(path)).json()[field] is None


async def test_an_avatar_that_is_being_deleted_cannot_be_set(school: School, images: ImageClient) -> None:
    ana = await school.person()
    url = await images.upload(ana, "avatars")
    await make_due(school, url, locked_until=datetime.now(UTC) + timedelta(minutes=2))

    response = await ana.patch("/api/users/me", {"avatar_url": url})

    assert response.status_code == 409


async def test_an_interrupted_deletion_blocks_for_two_minutes_only(
    school: School, images: ImageClient, maintenance: MaintenanceService
) -> None:
    """The worker was killed: later the image can be set again, or is deleted if nothing shows it."""
    admin = await school.admin()
    shown, unused = await images.upload(admin), await images.upload(admin)
    await make_due(school, shown, unused, locked_until=datetime.now(UTC) - timedelta(seconds=1))

    response = await admin.patch(f"/api/admin/courses/{(await school.world()).id}", {"image_url": shown})
    await run_deletions(school, maintenance)

    assert response.status_code == 200
    assert await images.exists(shown, unused) == [True, False]


async def test_an_image_that_was_deleted_after_its_check_cannot_be_set(
    school: School, images: ImageClient, maintenance: MaintenanceService
) -> None:
    """The whole deletion happens between the check in the storage and the write."""
    admin, course = await school.admin(), await school.world()
    url = await images.upload(admin)
    change = f"/api/admin/courses/{course.id}"
    blocked = sa.text("SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted)")

    async with school.sessions() as session, asyncio.timeout(10):
        await session.execute(sa.select(World.id).where(World.id == course.id).with_for_update())
        setting = asyncio.create_task(admin.patch(change, {"thumbnail_url": url}))
        async with school.sessions() as watching:
            while not await watching.scalar(blocked):
                await watching.rollback()
        await make_due(school, url)
        await run_deletions(school, maintenance)
        await session.rollback()
        response = await setting

    assert await images.exists(url) == [False]
    assert response.status_code == 409
    assert (await admin.get(change)).json()["thumbnail_url"] is None


async def test_an_image_that_is_uploaded_again_after_its_deletion_is_deleted_too(
    school: School, images: ImageClient, maintenance: MaintenanceService
) -> None:
    """A signed URL can be used for five minutes, so a deletion ends only when a second look finds no image."""
    presigned = (await presign(await school.admin())).json()
    url = presigned["public_url"]
    await images.put(presigned)
    seen = []

    for is_put_again in (True, False, False):
        await make_due(school, url)
        await run_deletions(school, maintenance)
        seen.append((await images.exists(url), await pending_deletions(school)))
        if is_put_again:
            await images.put(presigned)

    kept = {(DeletionKind.IMAGE, url)}
    assert seen == [([False], kept), ([False], kept), ([False], set())]


async def test_an_image_exists_if_and_only_if_a_course_shows_it(
    school: School, images: ImageClient, maintenance: MaintenanceService
) -> None:
    """One course removes it while another sets it and the maintenance deletes, in any order."""
    admin = await school.admin()
    leaving, taking = await school.world(), await school.world()
    seen = []

    for _ in range(20):
        url = await images.upload(admin)
        await admin.patch(f"/api/admin/courses/{leaving.id}", {"thumbnail_url": url})
        (left, took), _ = await asyncio.gather(
            asyncio.gather(
                admin.patch(f"/api/admin/courses/{leaving.id}", {"thumbnail_url": None}),
                admin.patch(f"/api/admin/courses/{taking.id}", {"thumbnail_url": url}),
            ),
            asyncio.gather(*(run_deletions(school, maintenance) for _ in range(3))),
        )
        while (await run_deletions(school, maintenance)).done:
            pass
        is_shown = (await admin.get(f"/api/admin/courses/{taking.id}")).json()["thumbnail_url"] == url
        seen.append((left.status_code, took.status_code, is_shown, *await images.exists(url)))

    assert set(seen) <= {(200, 200, True, True), (200, 409, False, False), (200, 422, False, False)}


async def test_concurrent_workers_delete_each_image_once(
    school: School, images: ImageClient, maintenance: MaintenanceService
) -> None:
    admin = await school.admin()
    urls = [await images.upload(admin) for _ in range(8)]
    await make_due(school, *urls)

    results = await asyncio.gather(*(run_deletions(school, maintenance) for _ in range(4)))

    assert sum(result.done for result in results) == 8
    assert await images.exists(*urls) == [False] * 8


async def test_a_deletion_that_fails_stays_due_and_does_not_lock_the_image(
    school: School, images: ImageClient, maintenance: MaintenanceService, app: Litestar, storage: StorageSettings
) -> None:
    admin, course = await school.admin(), await school.world()
    url = await images.upload(admin)
    await make_due(school, url)

    async with R2ImageStorage(
        endpoint_url=storage.endpoint_url,
        access_key_id=storage.access_key_id,
        secret_access_key="another-secret",
        bucket=storage.bucket_name,
        public_domain=storage.public_domain,
    ).opened() as refusing:
        resources = app.state.resources
        failing = MaintenanceService(resources.transactions, None, refusing, resources.clock)
        [failure] = (await run_deletions(school, failing)).failures
    used = await admin.patch(f"/api/admin/courses/{course.id}", {"image_url": url})
    await admin.patch(f"/api/admin/courses/{course.id}", {"image_url": None})
    before = await images.exists(url)
    await run_deletions(school, maintenance)

    assert failure.startswith("The picture storage refused the request")
    assert (used.status_code, before, await images.exists(url)) == (200, [True], [False])
