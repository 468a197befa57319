"""Creates, changes and reads courses."""

import asyncio
from typing import Any

import pytest
import sqlalchemy as sa

from factories import School
from mambo.courses.models import World

COURSE = {"title": "Mambo on two", "slug": "mambo-on-two", "order_index": 3, "difficulty": "Beginner"}
BOTH_METHODS = pytest.mark.parametrize("method", ["PATCH", "PUT"])


async def test_a_new_course_is_a_paid_draft_by_default(school: School) -> None:
    """The response is the whole course; fields that were not sent have their defaults."""
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


async def test_every_field_of_a_new_course_is_stored(school: School) -> None:
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
    ("sent", "returned"),
    [("BEGINNER", "Beginner"), ("intermediate", "Intermediate"), ("aDVANCED", "Advanced"), ("Advanced", "Advanced")],
)
async def test_difficulty_is_accepted_in_any_case_and_returned_capitalised(
    school: School, sent: str, returned: str
) -> None:
    admin = await school.admin()

    response = await admin.post("/api/admin/courses", COURSE | {"difficulty": sent})

    assert (response.status_code, response.json()["difficulty"]) == (201, returned)


async def test_difficulty_is_accepted_in_any_case_in_a_change(school: School) -> None:
    world, admin = await school.world(), await school.admin()

    response = await admin.put(f"/api/admin/courses/{world.id}", {"difficulty": "ADVANCED"})

    assert response.json()["difficulty"] == "Advanced"


async def test_a_new_course_cannot_have_the_slug_of_another(school: School) -> None:
    await school.world(slug="mambo-on-two")
    admin = await school.admin()

    response = await admin.post("/api/admin/courses", COURSE)

    assert (response.status_code, response.json()["detail"]) == (
        409,
        "Another course has this slug already: choose a different one.",
    )
    assert await school.count(World) == 1


@BOTH_METHODS
async def test_a_changed_course_cannot_have_the_slug_of_another(school: School, method: str) -> None:
    """No other field of the change is stored."""
    await school.world(slug="taken")
    world, admin = await school.world(slug="own", title="Own"), await school.admin()

    response = await admin.request(method, f"/api/admin/courses/{world.id}", json={"title": "New", "slug": "taken"})

    stored = (await admin.get(f"/api/admin/courses/{world.id}")).json()
    assert response.status_code == 409
    assert "slug" in response.json()["detail"]
    assert (stored["slug"], stored["title"]) == ("own", "Own")


async def test_concurrent_requests_with_one_slug_create_one_course(school: School) -> None:
    admin = await school.admin()

    replies = await asyncio.gather(*(admin.post("/api/admin/courses", COURSE) for _ in range(5)))

    assert sorted(reply.status_code for reply in replies) == [201, 409, 409, 409, 409]
    assert await school.count(World) == 1


@BOTH_METHODS
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
async def test_absent_fields_of_a_course_are_unchanged(school: School, method: str, change: dict[str, Any]) -> None:
    await school.world(
        lessons=2, description="Old", image_url="https://example.com/a.png", thumbnail_url="https://example.com/b.png"
    )
    admin = await school.admin()
    [before] = (await admin.get("/api/admin/courses")).json()

    response = await admin.request(method, f"/api/admin/courses/{before['id']}", json=change)

    assert (response.status_code, response.json()) == (200, before | change)
    assert (await admin.get("/api/admin/courses")).json() == [before | change]


@BOTH_METHODS
@pytest.mark.parametrize("nothing", [None, ""])
@pytest.mark.parametrize("name", ["image_url", "thumbnail_url"])
async def test_null_and_an_empty_url_clear_the_image_of_a_course(
    school: School, method: str, name: str, nothing: str | None
) -> None:
    images: dict[str, Any] = {name: "https://example.com/a.png"}
    world, admin = await school.world(**images), await school.admin()

    response = await admin.request(method, f"/api/admin/courses/{world.id}", json={name: nothing})

    assert response.json()[name] is None
    assert await school.scalar(sa.select(getattr(World, name))) is None


async def test_null_clears_the_description_of_a_course(school: School) -> None:
    world, admin = await school.world(description="Old"), await school.admin()

    response = await admin.patch(f"/api/admin/courses/{world.id}", {"description": None})

    assert response.json()["description"] is None


async def test_empty_urls_of_a_new_course_become_null(school: School) -> None:
    admin = await school.admin()

    response = await admin.post("/api/admin/courses", COURSE | {"image_url": "", "thumbnail_url": ""})

    assert (response.json()["image_url"], response.json()["thumbnail_url"]) == (None, None)


@pytest.mark.parametrize("name", ["title", "slug", "order_index", "difficulty", "is_free", "is_published"])
async def test_a_required_field_of_a_course_cannot_be_null(school: School, name: str) -> None:
    world, admin = await school.world(), await school.admin()

    response = await admin.patch(f"/api/admin/courses/{world.id}", {name: None})

    assert (response.status_code, response.json()["errors"][0]["field"]) == (422, name)


async def test_courses_are_listed_in_order_with_drafts_and_lesson_counts(school: School) -> None:
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
async def test_a_course_has_its_levels_and_lessons_in_order(school: School, suffix: str) -> None:
    """Levels by position; lessons by week, day and position, a missing one first; empty levels are included."""
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


async def test_both_paths_of_a_course_return_the_same(school: School) -> None:
    """Each lesson in it has all the fields of the lesson alone."""
    world, admin = await school.world(lessons=2), await school.admin()
    [lesson, _] = await school.lessons_of(world)

    course = (await admin.get(f"/api/admin/courses/{world.id}")).json()

    assert course == (await admin.get(f"/api/admin/courses/{world.id}/full")).json()
    assert course["levels"][0]["lessons"][0] == (await admin.get(f"/api/admin/lessons/{lesson.id}")).json()
