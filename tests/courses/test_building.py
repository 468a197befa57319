"""Building courses as an admin: courses, levels and lessons, by the new addresses and the first web client's."""

import asyncio
from typing import Any
from uuid import uuid4

import pytest
import sqlalchemy as sa

from factories import School
from mambo.courses.models import Lesson, Level, World
from mambo.game.models import XpEvent

COURSE = {"title": "Mambo on two", "slug": "mambo-on-two", "order_index": 3, "difficulty": "Beginner"}
LESSON = {"title": "The basic step", "order_index": 4}
BOTH_SPELLINGS = pytest.mark.parametrize("method", ["PATCH", "PUT"])


async def count(school: School, model: type[Any]) -> int:
    number: int = await school.scalar(sa.select(sa.func.count()).select_from(model))
    return number


# --- Courses ---


async def test_a_new_course_is_a_paid_draft_unless_it_says_otherwise(school: School) -> None:
    """The answer is the whole course; what was not sent has its default."""
    admin = await school.admin()

    response = await admin.post("/api/admin/courses", COURSE)

    assert response.status_code == 201
    assert response.json() == COURSE | {
        "id": response.json()["id"],
        "description": None,
        "is_free": False,
        "is_published": False,
        "image_url": None,
        "thumbnail_url": None,
        "lesson_count": 0,
        "progress_percentage": 0,
        "is_locked": False,
    }


async def test_a_course_keeps_all_that_it_was_made_with(school: School) -> None:
    admin = await school.admin()
    sent = COURSE | {
        "description": "From the *first* step.\nTo the last.",
        "is_free": True,
        "is_published": True,
        "image_url": "https://example.com/image.png",
        "thumbnail_url": "http://example.com/thumbnail.webp?w=1",
    }

    created = (await admin.post("/api/admin/courses", sent)).json()

    stored = (await admin.get(f"/api/admin/courses/{created['id']}")).json()
    assert created.items() >= sent.items()
    assert stored == created | {"levels": []}


@pytest.mark.parametrize(
    ("sent", "answered"),
    [("BEGINNER", "Beginner"), ("intermediate", "Intermediate"), ("aDVANCED", "Advanced"), ("Advanced", "Advanced")],
)
async def test_difficulty_is_read_in_any_case_and_answered_capitalised(
    school: School, sent: str, answered: str
) -> None:
    admin = await school.admin()

    response = await admin.post("/api/admin/courses", COURSE | {"difficulty": sent})

    assert (response.status_code, response.json()["difficulty"]) == (201, answered)


async def test_difficulty_is_read_in_any_case_in_a_change_too(school: School) -> None:
    world, admin = await school.world(), await school.admin()

    response = await admin.put(f"/api/admin/courses/{world.id}", {"difficulty": "ADVANCED"})

    assert response.json()["difficulty"] == "Advanced"


async def test_a_new_course_cannot_take_anothers_slug(school: School) -> None:
    await school.world(slug="mambo-on-two")
    admin = await school.admin()

    response = await admin.post("/api/admin/courses", COURSE)

    assert (response.status_code, response.json()["detail"]) == (
        409,
        "Another course has this slug already: choose a different one.",
    )
    assert await count(school, World) == 1


@BOTH_SPELLINGS
async def test_a_changed_course_cannot_take_anothers_slug(school: School, method: str) -> None:
    """Nothing else of the same change is stored either."""
    await school.world(slug="taken")
    world, admin = await school.world(slug="own", title="Own"), await school.admin()

    response = await admin.request(method, f"/api/admin/courses/{world.id}", json={"title": "New", "slug": "taken"})

    stored = (await admin.get(f"/api/admin/courses/{world.id}")).json()
    assert response.status_code == 409
    assert "slug" in response.json()["detail"]
    assert (stored["slug"], stored["title"]) == ("own", "Own")


async def test_of_courses_made_at_once_with_one_slug_one_is_made(school: School) -> None:
    admin = await school.admin()

    replies = await asyncio.gather(*(admin.post("/api/admin/courses", COURSE) for _ in range(5)))

    assert sorted(reply.status_code for reply in replies) == [201, 409, 409, 409, 409]
    assert await count(school, World) == 1


@BOTH_SPELLINGS
@pytest.mark.parametrize(
    "change",
    [
        {},
        {"title": "Salsa"},
        {"slug": "salsa"},
        {"order_index": 0},
        {"difficulty": "Advanced"},
        {"description": "New"},
        {"is_free": False},
        {"is_published": False},
        {"image_url": "https://example.com/new.png"},
        {"thumbnail_url": "https://example.com/new.png", "title": "Salsa"},
    ],
    ids=lambda change: "+".join(change) or "nothing",
)
async def test_what_a_change_of_a_course_leaves_out_stays(school: School, method: str, change: dict[str, Any]) -> None:
    await school.world(
        lessons=2, description="Old", image_url="https://example.com/a.png", thumbnail_url="https://example.com/b.png"
    )
    admin = await school.admin()
    [before] = (await admin.get("/api/admin/courses")).json()

    response = await admin.request(method, f"/api/admin/courses/{before['id']}", json=change)

    assert (response.status_code, response.json()) == (200, before | change)
    assert (await admin.get("/api/admin/courses")).json() == [before | change]


@BOTH_SPELLINGS
@pytest.mark.parametrize("nothing", [None, ""])
@pytest.mark.parametrize("name", ["image_url", "thumbnail_url"])
async def test_null_and_an_empty_url_clear_a_courses_picture(
    school: School, method: str, name: str, nothing: str | None
) -> None:
    pictures: dict[str, Any] = {name: "https://example.com/a.png"}
    world, admin = await school.world(**pictures), await school.admin()

    response = await admin.request(method, f"/api/admin/courses/{world.id}", json={name: nothing})

    assert response.json()[name] is None
    assert await school.scalar(sa.select(getattr(World, name))) is None


async def test_null_clears_a_courses_description(school: School) -> None:
    world, admin = await school.world(description="Old"), await school.admin()

    response = await admin.patch(f"/api/admin/courses/{world.id}", {"description": None})

    assert response.json()["description"] is None


async def test_a_new_course_with_empty_urls_has_none(school: School) -> None:
    admin = await school.admin()

    response = await admin.post("/api/admin/courses", COURSE | {"image_url": "", "thumbnail_url": ""})

    assert (response.json()["image_url"], response.json()["thumbnail_url"]) == (None, None)


@pytest.mark.parametrize("name", ["title", "slug", "order_index", "difficulty", "is_free", "is_published"])
async def test_a_course_cannot_lose_what_every_course_has(school: School, name: str) -> None:
    world, admin = await school.world(), await school.admin()

    response = await admin.patch(f"/api/admin/courses/{world.id}", {name: None})

    assert (response.status_code, response.json()["errors"][0]["field"]) == (422, name)


async def test_the_list_of_courses_is_in_order_with_drafts_and_counts(school: School) -> None:
    third = await school.world(order_index=3)
    first = await school.world(order_index=1, is_published=False, lessons=2)
    also_third = await school.world(order_index=3, lessons=1)
    admin = await school.admin()

    courses = (await admin.get("/api/admin/courses")).json()

    assert [(course["id"], course["lesson_count"], course["is_published"]) for course in courses] == [
        (str(first.id), 2, False),
        (str(third.id), 0, True),
        (str(also_third.id), 1, True),
    ]


@pytest.mark.parametrize("suffix", ["", "/full"])
async def test_a_course_is_read_whole_with_levels_and_lessons_in_order(school: School, suffix: str) -> None:
    """Levels by position, lessons by week, day and position with a missing one first; an empty level is there too."""
    world, admin = await school.world(), await school.admin()
    last = await school.level(world, order_index=2, title="Last")
    empty = await school.level(world, order_index=1, title="Empty")
    first = await school.level(world, order_index=0, title="First")
    late = await school.lesson(first, week_number=1, day_number=2, order_index=0)
    early = await school.lesson(first, week_number=1, day_number=1, order_index=9)
    weekless = await school.lesson(first, order_index=99)
    alone = await school.lesson(last)

    course = (await admin.get(f"/api/admin/courses/{world.id}{suffix}")).json()

    assert course["lesson_count"] == 4
    assert [(level["id"], level["title"], level["order_index"]) for level in course["levels"]] == [
        (str(first.id), "First", 0),
        (str(empty.id), "Empty", 1),
        (str(last.id), "Last", 2),
    ]
    assert [[lesson["id"] for lesson in level["lessons"]] for level in course["levels"]] == [
        [str(weekless.id), str(early.id), str(late.id)],
        [],
        [str(alone.id)],
    ]


async def test_both_addresses_of_a_whole_course_answer_the_same(school: School) -> None:
    """Each lesson in it is as whole as when it is read alone."""
    world, admin = await school.world(lessons=2), await school.admin()
    [lesson, _] = await school.lessons_of(world)

    course = (await admin.get(f"/api/admin/courses/{world.id}")).json()

    assert course == (await admin.get(f"/api/admin/courses/{world.id}/full")).json()
    assert course["levels"][0]["lessons"][0] == (await admin.get(f"/api/admin/lessons/{lesson.id}")).json()


async def test_a_course_without_progress_is_deleted_with_all_that_is_in_it(school: School) -> None:
    world, admin = await school.world(lessons=2), await school.admin()

    response = await admin.delete(f"/api/admin/courses/{world.id}")

    assert (response.status_code, response.content) == (204, b"")
    assert [await count(school, model) for model in (World, Level, Lesson)] == [0, 0, 0]


@pytest.mark.parametrize("query", ["", "?force=false"])
async def test_a_course_with_progress_is_not_deleted(school: School, query: str) -> None:
    world, admin, learner = await school.world(lessons=2), await school.admin(), await school.person()
    [lesson, _] = await school.lessons_of(world)
    await learner.post(f"/api/courses/lessons/{lesson.id}/complete")

    response = await admin.delete(f"/api/admin/courses/{world.id}{query}")

    assert (response.status_code, response.json()["code"]) == (409, "course_has_progress")
    assert await count(school, Lesson) == 2


async def test_a_course_with_progress_is_deleted_by_force_and_the_xp_stays(school: School) -> None:
    world, admin, learner = await school.world(lessons=1), await school.admin(), await school.person()
    [lesson] = await school.lessons_of(world)
    await learner.post(f"/api/courses/lessons/{lesson.id}/complete")

    response = await admin.delete(f"/api/admin/courses/{world.id}?force=true")

    assert response.status_code == 204
    assert [await count(school, model) for model in (World, Lesson, XpEvent)] == [0, 0, 1]
    assert (await learner.get("/api/users/me")).json()["xp"] == 50


# --- Levels ---


async def test_a_level_is_added_to_a_course(school: School) -> None:
    world, admin = await school.world(), await school.admin()

    response = await admin.post(f"/api/admin/courses/{world.id}/levels", {"title": "Turns", "order_index": 2})

    assert response.status_code == 201
    assert response.json() == {"id": response.json()["id"], "title": "Turns", "order_index": 2}
    assert await school.scalar(sa.select(Level.world_id)) == world.id


async def test_a_level_may_repeat_the_course_of_its_address(school: School) -> None:
    """The first web client sends `world_id`."""
    world, admin = await school.world(), await school.admin()
    level = {"title": "Turns", "order_index": 0, "world_id": str(world.id)}

    response = await admin.post(f"/api/admin/courses/{world.id}/levels", level)

    assert response.status_code == 201


async def test_a_level_cannot_name_another_course_than_its_address(school: School) -> None:
    world, other, admin = await school.world(), await school.world(), await school.admin()
    level = {"title": "Turns", "order_index": 0, "world_id": str(other.id)}

    response = await admin.post(f"/api/admin/courses/{world.id}/levels", level)

    assert (response.status_code, response.json()["errors"][0]["field"]) == (422, "world_id")
    assert await count(school, Level) == 0


@pytest.mark.parametrize("change", [{}, {"title": "Turns"}, {"order_index": 7}, {"title": "Turns", "order_index": 7}])
async def test_what_a_change_of_a_level_leaves_out_stays(school: School, change: dict[str, Any]) -> None:
    world, admin = await school.world(), await school.admin()
    level = await school.level(world, title="Steps", order_index=1)

    response = await admin.patch(f"/api/admin/levels/{level.id}", change | {"world_id": str(world.id)})

    after = {"id": str(level.id), "title": "Steps", "order_index": 1} | change
    course = (await admin.get(f"/api/admin/courses/{world.id}")).json()
    assert (response.status_code, response.json()) == (200, after)
    assert course["levels"] == [after | {"lessons": []}]


async def test_a_level_stays_in_its_course(school: School) -> None:
    world, other, admin = await school.world(), await school.world(), await school.admin()
    level = await school.level(world, title="Steps")

    response = await admin.patch(f"/api/admin/levels/{level.id}", {"title": "Turns", "world_id": str(other.id)})

    assert (response.status_code, response.json()["errors"][0]["field"]) == (422, "world_id")
    assert await school.scalar(sa.select(Level.title)) == "Steps"


async def test_deleting_a_level_deletes_its_lessons_alone_and_keeps_the_xp_they_paid(school: School) -> None:
    world, admin, learner = await school.world(), await school.admin(), await school.person()
    level, other = await school.level(world), await school.level(world)
    lesson = await school.lesson(level, xp_value=30)
    kept = await school.lesson(other)
    await learner.post(f"/api/courses/lessons/{lesson.id}/complete")

    response = await admin.delete(f"/api/admin/levels/{level.id}")

    assert (response.status_code, response.content) == (204, b"")
    assert [row.id for row in await school.lessons_of(world)] == [kept.id]
    assert (await learner.get("/api/users/me")).json()["xp"] == 30


# --- Lessons ---


async def test_a_new_lesson_has_its_defaults_and_the_courses_first_level(school: School) -> None:
    """The first level is the first by position, not by age."""
    world, admin = await school.world(), await school.admin()
    await school.level(world, order_index=5)
    first = await school.level(world, order_index=1)

    response = await admin.post(f"/api/admin/courses/{world.id}/lessons", LESSON)

    assert response.status_code == 201
    assert response.json() == LESSON | {
        "id": response.json()["id"],
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


async def test_a_lesson_keeps_all_that_it_was_made_with(school: School) -> None:
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


async def test_a_lesson_in_an_empty_course_makes_its_first_level(school: School) -> None:
    world, admin = await school.world(), await school.admin()

    lesson = (await admin.post(f"/api/admin/courses/{world.id}/lessons", LESSON | {"level_id": None})).json()

    course = (await admin.get(f"/api/admin/courses/{world.id}")).json()
    assert course["levels"] == [
        {"id": lesson["level_id"], "title": "Level 1", "order_index": 0, "lessons": [lesson]},
    ]


async def test_lessons_made_at_once_in_an_empty_course_share_one_first_level(school: School) -> None:
    world, admin = await school.world(), await school.admin()

    replies = await asyncio.gather(*(admin.post(f"/api/admin/courses/{world.id}/lessons", LESSON) for _ in range(5)))

    assert [reply.status_code for reply in replies] == [201] * 5
    assert len({reply.json()["level_id"] for reply in replies}) == 1
    assert await count(school, Level) == 1


@pytest.mark.parametrize("repeats_level", [False, True])
async def test_a_lesson_is_added_to_the_level_of_its_address(school: School, *, repeats_level: bool) -> None:
    """The first web client's spelling; it repeats `level_id` in the body."""
    world, admin = await school.world(), await school.admin()
    await school.level(world, order_index=0)
    level = await school.level(world, order_index=1)
    body = LESSON | ({"level_id": str(level.id)} if repeats_level else {})

    response = await admin.post(f"/api/admin/levels/{level.id}/lessons", body)

    assert response.status_code == 201
    assert (response.json()["level_id"], response.json()["world_id"]) == (str(level.id), str(world.id))


async def test_a_lesson_cannot_name_another_level_than_its_address(school: School) -> None:
    world, admin = await school.world(), await school.admin()
    level, other = await school.level(world), await school.level(world)

    response = await admin.post(f"/api/admin/levels/{level.id}/lessons", LESSON | {"level_id": str(other.id)})

    assert (response.status_code, response.json()["errors"][0]["field"]) == (422, "level_id")
    assert await count(school, Lesson) == 0


async def test_a_new_lesson_cannot_go_into_a_level_of_another_course(school: School) -> None:
    world, admin = await school.world(), await school.admin()
    foreign = await school.level(await school.world())

    response = await admin.post(f"/api/admin/courses/{world.id}/lessons", LESSON | {"level_id": str(foreign.id)})

    assert response.status_code == 409
    assert "level" in response.json()["detail"]
    assert await count(school, Lesson) == 0


@pytest.mark.parametrize("is_unknown", [False, True])
async def test_a_lesson_cannot_move_into_a_level_of_another_course(school: School, *, is_unknown: bool) -> None:
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


@BOTH_SPELLINGS
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
async def test_what_a_change_of_a_lesson_leaves_out_stays(school: School, method: str, change: dict[str, Any]) -> None:
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


@BOTH_SPELLINGS
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
async def test_null_clears_what_a_lesson_may_be_without(school: School, method: str, name: str, old: object) -> None:
    lesson = await school.lesson(await school.level(await school.world()), **{name: old})
    admin = await school.admin()

    response = await admin.request(method, f"/api/admin/lessons/{lesson.id}", json={name: None})

    assert (response.status_code, response.json()[name]) == (200, None)
    assert await school.scalar(sa.select(getattr(Lesson, name))) is None


@pytest.mark.parametrize("name", ["title", "order_index", "level_id", "xp_value", "is_boss_battle", "delete_video"])
async def test_a_lesson_cannot_lose_what_every_lesson_has(school: School, name: str) -> None:
    world, admin = await school.world(lessons=1), await school.admin()
    [lesson] = await school.lessons_of(world)

    response = await admin.patch(f"/api/admin/lessons/{lesson.id}", {name: None})

    assert (response.status_code, response.json()["errors"][0]["field"]) == (422, name)


@pytest.mark.parametrize("nothing", [None, ""])
async def test_a_lesson_without_a_video_answers_an_empty_address_and_stores_none(
    school: School, nothing: str | None
) -> None:
    lesson = await school.lesson(await school.level(await school.world()), video_url="https://example.com/old.m3u8")
    admin = await school.admin()

    response = await admin.patch(f"/api/admin/lessons/{lesson.id}", {"video_url": nothing})

    assert response.json()["video_url"] == ""
    assert await school.scalar(sa.select(Lesson.video_url)) is None


async def test_a_new_lesson_with_empty_urls_stores_none(school: School) -> None:
    world, admin = await school.world(), await school.admin()

    response = await admin.post(
        f"/api/admin/courses/{world.id}/lessons", LESSON | {"video_url": "", "thumbnail_url": ""}
    )

    assert (response.json()["video_url"], response.json()["thumbnail_url"]) == ("", None)
    assert await school.scalar(sa.select(Lesson.video_url)) is None


async def test_a_new_lesson_does_not_take_muxs_ids_from_a_client(school: School) -> None:
    """The webhook is the source of truth."""
    world, admin = await school.world(), await school.admin()
    sent = LESSON | {"mux_playback_id": "forged", "mux_asset_id": "forged"}

    response = await admin.post(f"/api/admin/courses/{world.id}/lessons", sent)

    assert response.status_code == 201
    assert (response.json()["mux_playback_id"], response.json()["mux_asset_id"]) == (None, None)


@BOTH_SPELLINGS
@pytest.mark.parametrize("sent", ["forged", None])
async def test_a_changed_lesson_keeps_muxs_ids_whatever_a_client_sends(
    school: School, method: str, sent: str | None
) -> None:
    level, admin = await school.level(await school.world()), await school.admin()
    lesson = await school.lesson(level, mux_playback_id="playback", mux_asset_id="asset")
    change = {"title": "New", "mux_playback_id": sent, "mux_asset_id": sent}

    response = await admin.request(method, f"/api/admin/lessons/{lesson.id}", json=change)

    after = response.json()
    assert (after["title"], after["mux_playback_id"], after["mux_asset_id"]) == ("New", "playback", "asset")


@BOTH_SPELLINGS
async def test_delete_video_clears_the_address_and_muxs_ids(school: School, method: str) -> None:
    """Also when the same change repeats the old address."""
    level, admin = await school.level(await school.world()), await school.admin()
    video = "https://example.com/old.m3u8"
    lesson = await school.lesson(level, video_url=video, mux_playback_id="playback", mux_asset_id="asset")

    response = await admin.request(
        method, f"/api/admin/lessons/{lesson.id}", json={"delete_video": True, "video_url": video}
    )

    after = response.json()
    assert (after["video_url"], after["mux_playback_id"], after["mux_asset_id"]) == ("", None, None)
    assert (await admin.get(f"/api/admin/lessons/{lesson.id}")).json() == after


async def test_a_deleted_lesson_is_gone(school: School) -> None:
    world, admin = await school.world(lessons=2), await school.admin()
    [lesson, kept] = await school.lessons_of(world)

    response = await admin.delete(f"/api/admin/lessons/{lesson.id}")

    assert (response.status_code, response.content) == (204, b"")
    assert (await admin.get(f"/api/admin/lessons/{lesson.id}")).status_code == 404
    assert [row.id for row in await school.lessons_of(world)] == [kept.id]


# --- What is refused ---


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "courses/{id}", None),
        ("GET", "courses/{id}/full", None),
        ("PATCH", "courses/{id}", {"title": "New"}),
        ("PATCH", "courses/{id}", {}),
        ("PUT", "courses/{id}", {"title": "New"}),
        ("DELETE", "courses/{id}", None),
        ("DELETE", "courses/{id}?force=true", None),
        ("PUT", "courses/{id}/order", []),
        ("POST", "courses/{id}/levels", {"title": "New", "order_index": 0}),
        ("POST", "courses/{id}/lessons", LESSON),
        ("PATCH", "levels/{id}", {"title": "New"}),
        ("DELETE", "levels/{id}", None),
        ("POST", "levels/{id}/lessons", LESSON),
        ("GET", "lessons/{id}", None),
        ("PATCH", "lessons/{id}", {"title": "New"}),
        ("PUT", "lessons/{id}", {}),
        ("DELETE", "lessons/{id}", None),
    ],
)
async def test_what_does_not_exist_is_not_found(school: School, method: str, path: str, body: object) -> None:
    admin = await school.admin()

    response = await admin.request(method, f"/api/admin/{path.format(id=uuid4())}", json=body)

    assert (response.status_code, response.json()["code"]) == (404, "not_found")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("title", ""),
        ("title", "   "),
        ("title", 5),
        ("title", "x" * 201),
        ("title", "two\nlines"),
        ("slug", ""),
        ("slug", "Mambo"),
        ("slug", "mambo on two"),
        ("slug", "-mambo"),
        ("slug", "mambo--two"),
        ("slug", "x" * 81),
        ("order_index", -1),
        ("order_index", 1.5),
        ("order_index", 2**31),
        ("order_index", "first"),
        ("difficulty", "Expert"),
        ("difficulty", 1),
        ("description", 1),
        ("description", "x" * 20_001),
        ("description", "nul\u0000"),
        ("is_free", "perhaps"),
        ("is_published", None),
        ("image_url", "javascript:alert(1)"),
        ("image_url", "https://example.com/with space"),
        ("thumbnail_url", "https://example.com/" + "x" * 2048),
        ("lesson_count", 3),
        ("id", "01a20adb-8cc3-7327-b22d-f7062d8a6542"),
    ],
)
async def test_a_course_that_fails_validation_is_refused_with_the_fields_name(
    school: School, field: str, value: object
) -> None:
    admin = await school.admin()

    response = await admin.post("/api/admin/courses", COURSE | {field: value})

    assert (response.status_code, [error["field"] for error in response.json()["errors"]]) == (422, [field])
    assert field in response.json()["detail"]
    assert await count(school, World) == 0


@pytest.mark.parametrize("field", ["title", "slug", "order_index", "difficulty"])
async def test_a_course_that_lacks_a_field_is_refused_with_its_name(school: School, field: str) -> None:
    admin = await school.admin()

    response = await admin.post("/api/admin/courses", {name: COURSE[name] for name in COURSE if name != field})

    assert (response.status_code, response.json()["errors"][0]["field"]) == (422, field)
    assert response.json()["errors"][0]["code"] == "missing"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("title", "\u202egpj.exe"),
        ("title", ["a"]),
        ("order_index", None),
        ("level_id", "first"),
        ("level_id", 1),
        ("xp_value", -1),
        ("xp_value", 100_001),
        ("week_number", -1),
        ("day_number", 1001),
        ("duration_minutes", 1441),
        ("duration_minutes", "long"),
        ("is_boss_battle", "perhaps"),
        ("video_url", "example.com/v.mp4"),
        ("thumbnail_url", 1),
        ("content_json", "notes"),
        ("content_json", []),
        ("is_completed", True),
        ("world_id", "01a20adb-8cc3-7327-b22d-f7062d8a6542"),
    ],
)
async def test_a_lesson_that_fails_validation_is_refused_with_the_fields_name(
    school: School, field: str, value: object
) -> None:
    world, admin = await school.world(), await school.admin()

    response = await admin.post(f"/api/admin/courses/{world.id}/lessons", LESSON | {field: value})

    assert (response.status_code, [error["field"] for error in response.json()["errors"]]) == (422, [field])
    assert await count(school, Lesson) == 0


@pytest.mark.parametrize(("field", "value"), [("title", ""), ("order_index", -1), ("name", "x"), ("world_id", "x")])
async def test_a_level_that_fails_validation_is_refused_with_the_fields_name(
    school: School, field: str, value: object
) -> None:
    world, admin = await school.world(), await school.admin()

    response = await admin.post(
        f"/api/admin/courses/{world.id}/levels", {"title": "Turns", "order_index": 0, field: value}
    )

    assert (response.status_code, [error["field"] for error in response.json()["errors"]]) == (422, [field])
    assert await count(school, Level) == 0


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("title", "Mambo\n"),
        ("slug", "mambo\n"),
        ("image_url", "https://example.com/a.png\n"),
        ("thumbnail_url", "\n"),
    ],
)
async def test_a_line_break_at_the_end_is_refused_like_any_other(school: School, field: str, value: str) -> None:
    admin = await school.admin()

    response = await admin.post("/api/admin/courses", COURSE | {field: value})

    assert (response.status_code, response.json().get("errors", [{}])[0].get("field")) == (422, field)
