"""Creates, changes and deletes lessons."""

import asyncio
from typing import Any
from uuid import uuid4

import pytest
import sqlalchemy as sa

from factories import School
from mambo.courses.models import Lesson, Level

LESSON = {"title": "The basic step", "order_index": 4}
BOTH_METHODS = pytest.mark.parametrize("method", ["PATCH", "PUT"])


async def test_a_new_lesson_has_defaults_and_is_added_to_the_first_level(school: School) -> None:
    """The first level is the first by position, not by age."""
    world, admin = await school.world(), await school.admin()
    await school.level(world, order_index=5)
    first = await school.level(world, order_index=1)

    response = await admin.post(f"/api/admin/courses/{world.id}/lessons", LESSON)

    assert response.status_code == 201
    defaults = {
        "world_id": str(world.id),
        "level_id": str(first.id),
        "description": None,
        "video_url": "",
        "xp_value": 50,
        "week_number": None,
        "day_number": None,
        "is_boss_battle": False,
        "duration_minutes": None,
        "thumbnail_url": None,
        "content_json": None,
        "mux_playback_id": None,
        "mux_asset_id": None,
        "duration_seconds": None,
    }
    assert response.json().items() >= (LESSON | defaults).items()


async def test_every_field_of_a_new_lesson_is_stored(school: School) -> None:
    world, admin = await school.world(), await school.admin()
    await school.level(world)
    level = await school.level(world, order_index=9)
    sent = LESSON | {
        "level_id": str(level.id),
        "description": "Forward on two.",
        "video_url": "https://example.com/v.m3u8",
        "xp_value": 0,
        "week_number": 0,
        "day_number": 6,
        "is_boss_battle": True,
        "duration_minutes": 12,
        "thumbnail_url": "https://example.com/t.png",
        "content_json": {"notes": "# Two"},
    }

    created = (await admin.post(f"/api/admin/courses/{world.id}/lessons", sent)).json()

    assert created.items() >= sent.items()
    assert (await admin.get(f"/api/admin/lessons/{created['id']}")).json() == created


async def test_a_lesson_in_an_empty_course_creates_the_first_level(school: School) -> None:
    world, admin = await school.world(), await school.admin()

    lesson = (await admin.post(f"/api/admin/courses/{world.id}/lessons", LESSON | {"level_id": None})).json()

    course = (await admin.get(f"/api/admin/courses/{world.id}")).json()
    assert course["levels"] == [
        {"id": lesson["level_id"], "title": "Level 1", "order_index": 0, "lessons": [lesson]},
    ]


async def test_concurrent_lessons_in_an_empty_course_share_one_first_level(school: School) -> None:
    world, admin = await school.world(), await school.admin()

    replies = await asyncio.gather(*(admin.post(f"/api/admin/courses/{world.id}/lessons", LESSON) for _ in range(5)))

    assert [reply.status_code for reply in replies] == [201] * 5
    assert len({reply.json()["level_id"] for reply in replies}) == 1
    assert await school.count(Level) == 1


@pytest.mark.parametrize("repeats_level", [False, True])
async def test_a_lesson_is_added_to_the_level_in_the_url(school: School, *, repeats_level: bool) -> None:
    """As the first web client does, which repeats `level_id` in the body."""
    world, admin = await school.world(), await school.admin()
    await school.level(world, order_index=0)
    level = await school.level(world, order_index=1)
    body = LESSON | ({"level_id": str(level.id)} if repeats_level else {})

    response = await admin.post(f"/api/admin/levels/{level.id}/lessons", body)

    assert response.status_code == 201
    assert (response.json()["level_id"], response.json()["world_id"]) == (str(level.id), str(world.id))


async def test_a_new_lesson_cannot_name_another_level_than_the_url(school: School) -> None:
    world, admin = await school.world(), await school.admin()
    level, other = await school.level(world), await school.level(world)

    response = await admin.post(f"/api/admin/levels/{level.id}/lessons", LESSON | {"level_id": str(other.id)})

    assert (response.status_code, response.json()["errors"][0]["field"]) == (422, "level_id")
    assert await school.count(Lesson) == 0


async def test_a_new_lesson_cannot_be_added_to_a_level_of_another_course(school: School) -> None:
    world, admin = await school.world(), await school.admin()
    foreign = await school.level(await school.world())

    response = await admin.post(f"/api/admin/courses/{world.id}/lessons", LESSON | {"level_id": str(foreign.id)})

    assert response.status_code == 409
    assert "level" in response.json()["detail"]
    assert await school.count(Lesson) == 0


@pytest.mark.parametrize("is_unknown", [False, True])
async def test_a_lesson_cannot_move_to_a_level_of_another_course(school: School, *, is_unknown: bool) -> None:
    world, admin = await school.world(lessons=1), await school.admin()
    [lesson] = await school.lessons_of(world)
    foreign = uuid4() if is_unknown else (await school.level(await school.world())).id

    response = await admin.patch(f"/api/admin/lessons/{lesson.id}", {"title": "New", "level_id": str(foreign)})

    [after] = await school.lessons_of(world)
    assert response.status_code == 409
    assert (after.level_id, after.title) == (lesson.level_id, lesson.title)


async def test_a_lesson_moves_to_another_level_of_its_course(school: School) -> None:
    world, admin = await school.world(lessons=1), await school.admin()
    [lesson] = await school.lessons_of(world)
    level = await school.level(world, order_index=1)

    response = await admin.patch(f"/api/admin/lessons/{lesson.id}", {"level_id": str(level.id)})

    assert (response.status_code, response.json()["level_id"]) == (200, str(level.id))


@BOTH_METHODS
@pytest.mark.parametrize(
    "change",
    [
        {},
        {"title": "Turns"},
        {"order_index": 0},
        {"description": "New"},
        {"video_url": "https://example.com/new.m3u8"},
        {"xp_value": 0},
        {"week_number": 9},
        {"day_number": 9},
        {"is_boss_battle": False},
        {"duration_minutes": 0},
        {"thumbnail_url": "https://example.com/new.png"},
        {"content_json": {"notes": "New"}},
    ],
    ids=lambda change: "+".join(change) or "nothing",
)
async def test_absent_fields_of_a_lesson_are_unchanged(school: School, method: str, change: dict[str, Any]) -> None:
    world, admin = await school.world(), await school.admin()
    lesson = await school.lesson(
        await school.level(world),
        description="Old",
        video_url="https://example.com/old.m3u8",
        week_number=1,
        day_number=2,
        is_boss_battle=True,
        duration_minutes=5,
        thumbnail_url="https://example.com/old.png",
        content_json={"notes": "Old"},
        mux_playback_id="playback",
        mux_asset_id="asset",
    )
    before = (await admin.get(f"/api/admin/lessons/{lesson.id}")).json()

    response = await admin.request(method, f"/api/admin/lessons/{lesson.id}", json=change)

    assert (response.status_code, response.json()) == (200, before | change)
    assert (await admin.get(f"/api/admin/lessons/{lesson.id}")).json() == before | change


@BOTH_METHODS
@pytest.mark.parametrize(
    ("name", "old"),
    [
        ("description", "Old"),
        ("week_number", 1),
        ("day_number", 2),
        ("duration_minutes", 5),
        ("thumbnail_url", "https://example.com/old.png"),
        ("content_json", {"notes": "Old"}),
    ],
)
async def test_null_clears_an_optional_field_of_a_lesson(school: School, method: str, name: str, old: object) -> None:
    lesson = await school.lesson(await school.level(await school.world()), **{name: old})
    admin = await school.admin()

    response = await admin.request(method, f"/api/admin/lessons/{lesson.id}", json={name: None})

    assert (response.status_code, response.json()[name]) == (200, None)
    assert await school.scalar(sa.select(getattr(Lesson, name))) is None


@pytest.mark.parametrize("name", ["title", "order_index", "level_id", "xp_value", "is_boss_battle", "delete_video"])
async def test_a_required_field_of_a_lesson_cannot_be_null(school: School, name: str) -> None:
    world, admin = await school.world(lessons=1), await school.admin()
    [lesson] = await school.lessons_of(world)

    response = await admin.patch(f"/api/admin/lessons/{lesson.id}", {name: None})

    assert (response.status_code, response.json()["errors"][0]["field"]) == (422, name)


@pytest.mark.parametrize("nothing", [None, ""])
async def test_a_lesson_without_a_video_has_an_empty_video_url_and_stores_null(
    school: School, nothing: str | None
) -> None:
    lesson = await school.lesson(await school.level(await school.world()), video_url="https://example.com/old.m3u8")
    admin = await school.admin()

    response = await admin.patch(f"/api/admin/lessons/{lesson.id}", {"video_url": nothing})

    assert response.json()["video_url"] == ""
    assert await school.scalar(sa.select(Lesson.video_url)) is None


async def test_empty_urls_of_a_new_lesson_are_stored_as_null(school: School) -> None:
    world, admin = await school.world(), await school.admin()

    response = await admin.post(
        f"/api/admin/courses/{world.id}/lessons", LESSON | {"video_url": "", "thumbnail_url": ""}
    )

    assert (response.json()["video_url"], response.json()["thumbnail_url"]) == ("", None)
    assert await school.scalar(sa.select(Lesson.video_url)) is None


async def test_mux_ids_of_a_new_lesson_are_ignored(school: School) -> None:
    """Only updates from Mux set them."""
    world, admin = await school.world(), await school.admin()
    sent = LESSON | {"mux_playback_id": "forged", "mux_asset_id": "forged"}

    response = await admin.post(f"/api/admin/courses/{world.id}/lessons", sent)

    assert response.status_code == 201
    assert (response.json()["mux_playback_id"], response.json()["mux_asset_id"]) == (None, None)


@BOTH_METHODS
@pytest.mark.parametrize("sent", ["forged", None])
async def test_mux_ids_in_a_change_of_a_lesson_are_ignored(school: School, method: str, sent: str | None) -> None:
    level, admin = await school.level(await school.world()), await school.admin()
    lesson = await school.lesson(level, mux_playback_id="playback", mux_asset_id="asset")
    change = {"title": "New", "mux_playback_id": sent, "mux_asset_id": sent}

    response = await admin.request(method, f"/api/admin/lessons/{lesson.id}", json=change)

    after = response.json()
    assert (after["title"], after["mux_playback_id"], after["mux_asset_id"]) == ("New", "playback", "asset")


@BOTH_METHODS
async def test_delete_video_clears_the_url_and_the_mux_ids(school: School, method: str) -> None:
    """Even if the same change repeats the old URL."""
    level, admin = await school.level(await school.world()), await school.admin()
    video = "https://example.com/old.m3u8"
    lesson = await school.lesson(level, video_url=video, mux_playback_id="playback", mux_asset_id="asset")

    response = await admin.request(
        method, f"/api/admin/lessons/{lesson.id}", json={"delete_video": True, "video_url": video}
    )

    after = response.json()
    assert (after["video_url"], after["mux_playback_id"], after["mux_asset_id"]) == ("", None, None)
    assert (await admin.get(f"/api/admin/lessons/{lesson.id}")).json() == after


async def test_a_lesson_is_deleted(school: School) -> None:
    world, admin = await school.world(lessons=2), await school.admin()
    [lesson, kept] = await school.lessons_of(world)

    response = await admin.delete(f"/api/admin/lessons/{lesson.id}")

    assert (response.status_code, response.content) == (204, b"")
    assert (await admin.get(f"/api/admin/lessons/{lesson.id}")).status_code == 404
    assert [row.id for row in await school.lessons_of(world)] == [kept.id]
