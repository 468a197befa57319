"""Requests about courses, levels and lessons that are refused."""

from uuid import uuid4

import pytest

from factories import School
from mambo.courses.models import Lesson, Level, World

COURSE = {"title": "Mambo on two", "slug": "mambo-on-two", "order_index": 3, "difficulty": "Beginner"}
LESSON = {"title": "The basic step", "order_index": 4}


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
async def test_an_unknown_id_is_not_found(school: School, method: str, path: str, body: object) -> None:
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
async def test_an_invalid_field_of_a_course_is_named(school: School, field: str, value: object) -> None:
    admin = await school.admin()

    response = await admin.post("/api/admin/courses", COURSE | {field: value})

    assert (response.status_code, [error["field"] for error in response.json()["errors"]]) == (422, [field])
    assert field in response.json()["detail"]
    assert await school.count(World) == 0


@pytest.mark.parametrize("field", ["title", "slug", "order_index", "difficulty"])
async def test_a_missing_field_of_a_course_is_named(school: School, field: str) -> None:
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
async def test_an_invalid_field_of_a_lesson_is_named(school: School, field: str, value: object) -> None:
    world, admin = await school.world(), await school.admin()

    response = await admin.post(f"/api/admin/courses/{world.id}/lessons", LESSON | {field: value})

    assert (response.status_code, [error["field"] for error in response.json()["errors"]]) == (422, [field])
    assert await school.count(Lesson) == 0


@pytest.mark.parametrize(("field", "value"), [("title", ""), ("order_index", -1), ("name", "x"), ("world_id", "x")])
async def test_an_invalid_field_of_a_level_is_named(school: School, field: str, value: object) -> None:
    world, admin = await school.world(), await school.admin()

    response = await admin.post(
        f"/api/admin/courses/{world.id}/levels", {"title": "Turns", "order_index": 0, field: value}
    )

    assert (response.status_code, [error["field"] for error in response.json()["errors"]]) == (422, [field])
    assert await school.count(Level) == 0


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("title", "Mambo\n"),
        ("slug", "mambo\n"),
        ("image_url", "https://example.com/a.png\n"),
        ("thumbnail_url", "\n"),
    ],
)
async def test_a_line_break_at_the_end_of_a_line_is_refused(school: School, field: str, value: str) -> None:
    admin = await school.admin()

    response = await admin.post("/api/admin/courses", COURSE | {field: value})

    assert (response.status_code, response.json().get("errors", [{}])[0].get("field")) == (422, field)
