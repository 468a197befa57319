"""Moves lessons of a course: all or none."""

import asyncio
from typing import Any
from uuid import UUID, uuid4

import pytest
import sqlalchemy as sa

from factories import School
from mambo.courses.models import Lesson, Level, World

Place = dict[str, Any]


def place(lesson: Lesson, *, level: Level | None = None, week: int | None = None, day: int | None = None) -> Place:
    """The first place of a week and day, by default in the level of the lesson."""
    return {
        "lesson_id": str(lesson.id),
        "level_id": str(level.id if level else lesson.level_id),
        "week_number": week,
        "day_number": day,
        "order_index": 0,
    }


def places_of(lessons: list[Lesson]) -> list[Place]:
    """Places that put the lessons in this order."""
    return [place(lesson) | {"order_index": index} for index, lesson in enumerate(lessons)]


def lesson_ids(course: dict[str, Any]) -> list[str]:
    return [lesson["id"] for level in course["levels"] for lesson in level["lessons"]]


async def rows(school: School, world: World) -> list[tuple[UUID, UUID, int | None, int | None, int]]:
    """The place of each lesson of the course, the oldest lesson first."""
    return [
        (lesson.id, lesson.level_id, lesson.week_number, lesson.day_number, lesson.order_index)
        for lesson in await school.lessons_of(world)
    ]


async def test_lessons_move_to_their_new_places(school: School) -> None:
    """The response is the course in its new order; other lessons stay in their places."""
    world, admin = await school.world(), await school.admin()
    first, second = await school.level(world, order_index=0), await school.level(world, order_index=1)
    a, b, c = [await school.lesson(first, week_number=1, order_index=index) for index in range(3)]
    new_places = [
        place(a, level=second, week=3, day=2) | {"order_index": 7},
        place(b, week=0, day=0) | {"order_index": 2**31 - 1},
    ]

    response = await admin.put(f"/api/admin/courses/{world.id}/order", new_places)

    assert response.status_code == 200
    assert await rows(school, world) == [
        (a.id, second.id, 3, 2, 7),
        (b.id, first.id, 0, 0, 2**31 - 1),
        (c.id, first.id, 1, None, 2),
    ]
    assert lesson_ids(response.json()) == [str(b.id), str(c.id), str(a.id)]
    assert response.json() == (await admin.get(f"/api/admin/courses/{world.id}")).json()


async def test_learners_see_the_new_order(school: School) -> None:
    """In the list of lessons, and in the neighbours of a lesson."""
    world, admin, learner = await school.world(lessons=4), await school.admin(), await school.person()
    a, b, c, d = await school.lessons_of(world)
    wanted = [str(lesson.id) for lesson in (d, b, a, c)]

    await admin.put(f"/api/admin/courses/{world.id}/order", places_of([d, b, a, c]))

    lessons = (await learner.get(f"/api/courses/worlds/{world.id}/lessons")).json()
    middle = (await learner.get(f"/api/courses/lessons/{b.id}")).json()
    assert [lesson["id"] for lesson in lessons] == wanted
    assert (middle["prev_lesson_id"], middle["next_lesson_id"]) == (str(d.id), str(a.id))


async def test_a_missing_week_or_day_comes_first_and_levels_do_not_matter(school: School) -> None:
    world, admin, learner = await school.world(), await school.admin(), await school.person()
    late, early = await school.level(world, order_index=1), await school.level(world, order_index=0)
    lessons = [await school.lesson(early) for _ in range(6)]
    in_order = [
        place(lessons[5], level=late),
        place(lessons[4], day=1),
        place(lessons[3], week=0),
        place(lessons[2], week=1, level=late),
        place(lessons[1], week=1, day=0),
        place(lessons[0], week=1, day=1, level=late),
    ]

    await admin.put(f"/api/admin/courses/{world.id}/order", in_order)

    listed = (await learner.get(f"/api/courses/worlds/{world.id}/lessons")).json()
    assert [lesson["id"] for lesson in listed] == [one["lesson_id"] for one in in_order]


async def test_lessons_with_the_same_place_are_ordered_by_age(school: School) -> None:
    """The order is total, because ids are in order of age."""
    world, admin, learner = await school.world(lessons=5), await school.admin(), await school.person()
    lessons = await school.lessons_of(world)

    await admin.put(f"/api/admin/courses/{world.id}/order", [place(lesson) for lesson in reversed(lessons)])

    listed = (await learner.get(f"/api/courses/worlds/{world.id}/lessons")).json()
    assert [lesson["id"] for lesson in listed] == [str(lesson.id) for lesson in lessons]


async def test_an_empty_list_moves_nothing(school: School) -> None:
    world, admin = await school.world(lessons=2), await school.admin()
    before = await rows(school, world)

    response = await admin.put(f"/api/admin/courses/{world.id}/order", [])

    assert (response.status_code, len(lesson_ids(response.json()))) == (200, 2)
    assert await rows(school, world) == before


@pytest.mark.parametrize("exists", [True, False])
async def test_a_lesson_of_another_course_moves_nothing(school: School, *, exists: bool) -> None:
    world, other, admin = await school.world(lessons=2), await school.world(lessons=1), await school.admin()
    own, [foreign_lesson] = await school.lessons_of(world), await school.lessons_of(other)
    before = [await rows(school, world), await rows(school, other)]
    foreign = place(own[0]) | {"lesson_id": str(foreign_lesson.id if exists else uuid4())}

    response = await admin.put(f"/api/admin/courses/{world.id}/order", [*places_of(own[::-1]), foreign])

    assert (response.status_code, response.json()["errors"][0]["field"]) == (422, "lesson_id")
    assert [await rows(school, world), await rows(school, other)] == before


@pytest.mark.parametrize("exists", [True, False])
async def test_a_level_of_another_course_moves_nothing(school: School, *, exists: bool) -> None:
    world, admin = await school.world(lessons=3), await school.admin()
    foreign = (await school.level(await school.world())).id if exists else uuid4()
    lessons = await school.lessons_of(world)
    before = await rows(school, world)
    places = places_of(lessons[::-1])
    places[-1]["level_id"] = str(foreign)

    response = await admin.put(f"/api/admin/courses/{world.id}/order", places)

    assert (response.status_code, response.json()["errors"][0]["field"]) == (422, "level_id")
    assert await rows(school, world) == before


async def test_a_lesson_that_is_listed_twice_moves_nothing(school: School) -> None:
    world, admin = await school.world(lessons=3), await school.admin()
    lessons = await school.lessons_of(world)
    before = await rows(school, world)

    response = await admin.put(
        f"/api/admin/courses/{world.id}/order", places_of([lessons[2], lessons[1], lessons[0], lessons[2]])
    )

    assert (response.status_code, response.json()["errors"][0]["field"]) == (422, "lesson_id")
    assert await rows(school, world) == before


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("lesson_id", "first"),
        ("level_id", None),
        ("week_number", -1),
        ("day_number", 1001),
        ("order_index", 2**31),
        ("order_index", None),
        ("position", 1),
    ],
)
async def test_an_invalid_place_is_named_and_moves_nothing(school: School, field: str, value: object) -> None:
    """The path of the field has the index of the place."""
    world, admin = await school.world(lessons=2), await school.admin()
    before = await rows(school, world)
    places = places_of((await school.lessons_of(world))[::-1])
    places[1] |= {field: value}

    response = await admin.put(f"/api/admin/courses/{world.id}/order", places)

    assert (response.status_code, response.json()["errors"][0]["field"]) == (422, f"[1].{field}")
    assert await rows(school, world) == before


@pytest.mark.parametrize("field", ["lesson_id", "level_id", "week_number", "day_number", "order_index"])
async def test_every_field_of_a_place_is_required(school: School, field: str) -> None:
    """An absent field could mean unchanged or null."""
    world, admin = await school.world(lessons=1), await school.admin()
    [complete] = places_of(await school.lessons_of(world))

    response = await admin.put(
        f"/api/admin/courses/{world.id}/order", [{name: complete[name] for name in complete if name != field}]
    )

    assert (response.status_code, response.json()["errors"][0]["code"]) == (422, "missing")
    assert response.json()["errors"][0]["field"].endswith(field)


async def test_concurrent_moves_end_in_one_of_the_requested_orders(school: School) -> None:
    """Each of ten responses has the order of its own request, and one of these orders is stored.

    The course is so long that each statement updates its rows in another order.
    """
    world, admin, learner = await school.world(lessons=150), await school.admin(), await school.person()
    lessons = await school.lessons_of(world)
    turned = [lessons[start:] + lessons[:start] for start in range(10)]
    wanted = [order if start % 2 else order[::-1] for start, order in enumerate(turned)]

    replies = await asyncio.gather(
        *(admin.put(f"/api/admin/courses/{world.id}/order", places_of(order)) for order in wanted)
    )

    listed = (await learner.get(f"/api/courses/worlds/{world.id}/lessons")).json()
    ids = [[str(lesson.id) for lesson in order] for order in wanted]
    assert [reply.status_code for reply in replies] == [200] * 10
    assert [lesson_ids(reply.json()) for reply in replies] == ids
    assert [lesson["id"] for lesson in listed] in ids
    assert [lesson["order_index"] for lesson in listed] == list(range(150))


async def test_concurrent_moves_and_new_lessons_are_all_stored(school: School) -> None:
    world, admin = await school.world(lessons=3), await school.admin()
    lessons = await school.lessons_of(world)
    new = {"title": "New", "order_index": 99}

    replies = await asyncio.gather(
        *(admin.put(f"/api/admin/courses/{world.id}/order", places_of(lessons[::-1])) for _ in range(3)),
        *(admin.post(f"/api/admin/courses/{world.id}/lessons", new) for _ in range(3)),
    )

    course = (await admin.get(f"/api/admin/courses/{world.id}")).json()
    assert [reply.status_code for reply in replies] == [200] * 3 + [201] * 3
    assert lesson_ids(course)[:3] == [str(lesson.id) for lesson in lessons[::-1]]
    assert await school.scalar(sa.select(sa.func.count()).select_from(Lesson)) == 6


async def test_concurrent_moves_and_deletions_do_not_deadlock(school: School) -> None:
    """Every change of levels or lessons locks the course first, so that none fails with 503."""
    admin = await school.admin()
    for _ in range(6):
        world = await school.world(lessons=60)
        lessons = await school.lessons_of(world)
        level = await school.level(world, order_index=1)
        moved = [place | {"level_id": str(level.id)} for place in places_of(lessons)]
        course = f"/api/admin/courses/{world.id}"

        replies = await asyncio.gather(
            admin.put(f"{course}/order", moved),
            admin.put(f"{course}/order", places_of(lessons[::-1])),
            admin.delete(f"/api/admin/levels/{level.id}"),
            admin.post(f"/api/admin/levels/{lessons[0].level_id}/lessons", {"title": "New", "order_index": 0}),
            admin.patch(f"/api/admin/lessons/{lessons[0].id}", {"level_id": str(level.id)}),
            admin.delete(course),
            admin.delete(course),
        )

        assert {reply.status_code for reply in replies} <= {200, 201, 204, 404, 409, 422}
        assert (await admin.get(course)).status_code == 404
