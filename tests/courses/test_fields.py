"""Every column of a course and a lesson is in the API, and every documented field is in the responses.

A new column, or a new field of a schema, needs no change here.
"""

from typing import Any
from uuid import UUID

import msgspec
import pytest
import sqlalchemy as sa

from factories import School
from mambo.courses.models import Lesson, World
from mambo.courses.schemas import CourseChange, CourseDetails, CourseOut, LessonChange, LessonOut
from mambo.web.schemas import Input, Output

INTERNAL = {"created_at"}  # columns that no response has
COMPUTED = {"lesson_count", "progress_percentage", "is_locked"}  # fields that are no columns
SET_BY_MUX = {"mux_playback_id", "mux_asset_id", "duration_seconds"}
ACTIONS = {"delete_video"}  # fields of a request that are no columns

SAMPLES: dict[type[sa.types.TypeEngine[Any]], Any] = {
    sa.Text: "https://example.com/a.png",
    sa.Integer: 7,
    sa.Float: 7.5,
    sa.Boolean: True,
    sa.JSON: {"notes": "Break on two."},
    sa.Enum: "Advanced",
}


def samples(model: type[World | Lesson]) -> dict[str, Any]:
    """A value for each column that is neither internal nor a key, unlike its default."""
    return {
        column.name: next(value for kind, value in SAMPLES.items() if isinstance(column.type, kind))
        for column in model.__table__.columns
        if column.name not in INTERNAL and not isinstance(column.type, sa.Uuid)
    } | ({"slug": "every-field"} if model is World else {})


@pytest.mark.parametrize(("model", "output"), [(World, CourseOut), (Lesson, LessonOut)])
def test_every_column_is_a_field_of_the_response_or_internal(model: type[World | Lesson], output: type[Output]) -> None:
    columns, fields = {column.name for column in model.__table__.columns}, set(output.__struct_fields__)

    assert columns - fields == INTERNAL
    assert fields - columns <= COMPUTED


@pytest.mark.parametrize(("model", "change"), [(World, CourseChange), (Lesson, LessonChange)])
def test_every_field_of_a_change_is_a_column(model: type[World | Lesson], change: type[Input]) -> None:
    columns = {column.name for column in model.__table__.columns}

    assert set(change.__struct_fields__) - columns <= ACTIONS


async def test_a_course_is_returned_with_every_documented_field(school: School) -> None:
    """With the values of the columns, in the list, alone and after a change."""
    values, admin = samples(World), await school.admin()
    world = await school.world(**values, lessons=3)

    [listed] = (await admin.get("/api/admin/courses")).json()
    alone = (await admin.get(f"/api/admin/courses/{world.id}")).json()
    changed = (await admin.patch(f"/api/admin/courses/{world.id}", {})).json()

    assert set(listed) == set(CourseOut.__struct_fields__)
    assert set(alone) == set(CourseDetails.__struct_fields__)
    assert listed == values | {"id": str(world.id), "lesson_count": 3, "progress_percentage": 0, "is_locked": False}
    assert listed == changed == {name: alone[name] for name in listed}
    msgspec.convert(alone, CourseDetails)


async def test_a_lesson_is_returned_with_every_documented_field(school: School) -> None:
    """With the values of the columns, in its course, alone and after a change."""
    values, admin = samples(Lesson), await school.admin()
    world = await school.world()
    level = await school.level(world)
    lesson = await school.lesson(level, **values)

    alone = (await admin.get(f"/api/admin/lessons/{lesson.id}")).json()
    in_course = (await admin.get(f"/api/admin/courses/{world.id}")).json()["levels"][0]["lessons"][0]
    changed = (await admin.patch(f"/api/admin/lessons/{lesson.id}", {})).json()

    assert set(alone) == set(LessonOut.__struct_fields__)
    assert alone == values | {"id": str(lesson.id), "world_id": str(world.id), "level_id": str(level.id)}
    assert alone == in_course == changed
    msgspec.convert(alone, LessonOut)


@pytest.mark.parametrize("field", sorted(set(CourseChange.__struct_fields__)))
async def test_every_field_of_a_course_can_be_changed(school: School, field: str) -> None:
    world, admin = await school.world(is_free=False, is_published=False), await school.admin()
    value = samples(World)[field]

    response = await admin.patch(f"/api/admin/courses/{world.id}", {field: value})

    assert response.json()[field] == value
    assert await school.scalar(sa.select(getattr(World, field))) == value


@pytest.mark.parametrize("field", sorted({*LessonChange.__struct_fields__} - SET_BY_MUX - ACTIONS))
async def test_every_field_of_a_lesson_can_be_changed(school: School, field: str) -> None:
    world, admin = await school.world(lessons=1), await school.admin()
    [lesson] = await school.lessons_of(world)
    value = (samples(Lesson) | {"level_id": str((await school.level(world)).id)})[field]

    response = await admin.patch(f"/api/admin/lessons/{lesson.id}", {field: value})

    stored = await school.scalar(sa.select(getattr(Lesson, field)))
    assert response.json()[field] == value
    assert (str(stored) if isinstance(stored, UUID) else stored) == value
