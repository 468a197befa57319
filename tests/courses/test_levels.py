"""Creates, changes and deletes levels."""

from typing import Any

import pytest
import sqlalchemy as sa

from factories import School
from mambo.courses.models import Level


async def test_a_level_is_added_to_a_course(school: School) -> None:
    world, admin = await school.world(), await school.admin()

    response = await admin.post(f"/api/admin/courses/{world.id}/levels", {"title": "Turns", "order_index": 2})

    assert response.status_code == 201
    assert response.json() == {"id": response.json()["id"], "title": "Turns", "order_index": 2}
    assert await school.scalar(sa.select(Level.world_id)) == world.id


async def test_a_new_level_may_repeat_the_course_in_the_url(school: School) -> None:
    """The first web client sends `world_id`."""
    world, admin = await school.world(), await school.admin()
    level = {"title": "Turns", "order_index": 0, "world_id": str(world.id)}

    response = await admin.post(f"/api/admin/courses/{world.id}/levels", level)

    assert response.status_code == 201


async def test_a_new_level_cannot_name_another_course_than_the_url(school: School) -> None:
    world, other, admin = await school.world(), await school.world(), await school.admin()
    level = {"title": "Turns", "order_index": 0, "world_id": str(other.id)}

    response = await admin.post(f"/api/admin/courses/{world.id}/levels", level)

    assert (response.status_code, response.json()["errors"][0]["field"]) == (422, "world_id")
    assert await school.count(Level) == 0


@pytest.mark.parametrize("change", [{}, {"title": "Turns"}, {"order_index": 7}, {"title": "Turns", "order_index": 7}])
async def test_absent_fields_of_a_level_are_unchanged(school: School, change: dict[str, Any]) -> None:
    world, admin = await school.world(), await school.admin()
    level = await school.level(world, title="Steps", order_index=1)

    response = await admin.patch(f"/api/admin/levels/{level.id}", change | {"world_id": str(world.id)})

    after = {"id": str(level.id), "title": "Steps", "order_index": 1} | change
    course = (await admin.get(f"/api/admin/courses/{world.id}")).json()
    assert (response.status_code, response.json()) == (200, after)
    assert course["levels"] == [after | {"lessons": []}]


async def test_a_level_cannot_move_to_another_course(school: School) -> None:
    world, other, admin = await school.world(), await school.world(), await school.admin()
    level = await school.level(world, title="Steps")

    response = await admin.patch(f"/api/admin/levels/{level.id}", {"title": "Turns", "world_id": str(other.id)})

    assert (response.status_code, response.json()["errors"][0]["field"]) == (422, "world_id")
    assert await school.scalar(sa.select(Level.title)) == "Steps"


async def test_deleting_a_level_deletes_its_lessons_and_keeps_their_xp(school: School) -> None:
    world, admin, learner = await school.world(), await school.admin(), await school.person()
    level, other = await school.level(world), await school.level(world)
    lesson = await school.lesson(level, xp_value=30)
    kept = await school.lesson(other)
    await learner.post(f"/api/courses/lessons/{lesson.id}/complete")

    response = await admin.delete(f"/api/admin/levels/{level.id}")

    assert (response.status_code, response.content) == (204, b"")
    assert [row.id for row in await school.lessons_of(world)] == [kept.id]
    assert (await learner.get("/api/users/me")).json()["xp"] == 30
