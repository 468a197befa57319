"""How far a learner is, and the lesson to continue with."""

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conftest import TurnableClock
from factories import Caller, School
from mambo.courses.models import Lesson, World
from mambo.game.rules import level_of, xp_of_level
from support.catalogue import complete

PROGRESS = "/api/progress/me"


async def complete_all(learner: Caller, *lessons: Lesson) -> None:
    for lesson in lessons:
        response = await complete(learner, lesson)
        assert response.status_code == 200, response.text


async def get_next(learner: Caller) -> Any:
    """Return the id of the lesson to continue with, or None."""
    lesson = (await learner.get(PROGRESS)).json()["continue"]
    return lesson and lesson["lesson_id"]


@pytest.fixture
async def worlds(school: School) -> list[World]:
    """Three worlds of two lessons each, in order; the second is not free."""
    return [
        await school.world(order_index=number, lessons=2, is_free=number != 1, title=f"World {number}")
        for number in range(3)
    ]


async def test_a_new_learner_sees_all_published_worlds_and_continues_with_the_first_lesson(
    school: School, worlds: list[World]
) -> None:
    await school.world(order_index=0, lessons=1, is_published=False)
    empty = await school.world(order_index=9, image_url="https://x.example/i.png")
    [first, _] = await school.lessons_of(worlds[0])
    learner = await school.person()

    progress = (await learner.get(PROGRESS)).json()

    assert progress == {
        "xp": 0,
        "level": 1,
        "xp_of_level": 0,
        "xp_of_next_level": 400,
        "streak_count": 0,
        "lessons_completed": 0,
        "worlds": [
            {
                "id": str(world.id),
                "title": world.title,
                "slug": world.slug,
                "image_url": world.image_url,
                "thumbnail_url": None,
                "lesson_count": 0 if world is empty else 2,
                "completed_count": 0,
                "progress_percentage": 0.0,
                "is_complete": False,
                "is_locked": not world.is_free,
            }
            for world in (*worlds, empty)
        ],
        "continue": {
            "lesson_id": str(first.id),
            "title": first.title,
            "world_id": str(worlds[0].id),
            "world_title": "World 0",
            "thumbnail_url": None,
            "duration_minutes": None,
        },
    }


async def test_totals_are_the_learners_own(school: School, worlds: list[World]) -> None:
    """The XP of an unpublished course stay, and so do its lessons."""
    unpublished = await school.world(order_index=5, lessons=1)
    [last] = await school.lessons_of(unpublished)
    ana, ben, admin = await school.person(xp=380), await school.person(), await school.admin()
    await complete_all(ana, *await school.lessons_of(worlds[0]), last)
    await complete_all(ben, (await school.lessons_of(worlds[2]))[0])
    await admin.patch(f"/api/admin/courses/{unpublished.id}", {"is_published": False})

    progress = (await ana.get(PROGRESS)).json()

    totals = {name: progress[name] for name in ("xp", "level", "xp_of_level", "xp_of_next_level", "streak_count")}
    assert totals == {"xp": 530, "level": 2, "xp_of_level": 400, "xp_of_next_level": 900, "streak_count": 1}
    assert progress["lessons_completed"] == 3
    assert [world["completed_count"] for world in progress["worlds"]] == [2, 0, 0]
    assert [world["is_complete"] for world in progress["worlds"]] == [True, False, False]


@given(st.integers(2, 4000))
def test_a_level_begins_at_the_smallest_xp_that_reaches_it(level: int) -> None:
    assert level_of(xp_of_level(level)) == level
    assert level_of(xp_of_level(level) - 1) == level - 1


async def test_a_learner_continues_in_the_world_of_their_last_completion(
    school: School, worlds: list[World], clock: TurnableClock
) -> None:
    """Only when it is complete, they continue in the first that is not."""
    [first, second], [later, latest] = [await school.lessons_of(worlds[number]) for number in (0, 2)]
    learner = await school.person()
    seen = []

    for lesson in (later, first, latest, second):
        await complete_all(learner, lesson)
        clock.turn(timedelta(minutes=1))
        seen.append(await get_next(learner))

    assert seen == [str(latest.id), str(second.id), str(second.id), None]


async def test_the_next_lesson_is_the_first_open_one_in_course_order(school: School) -> None:
    """By week, day and position across levels, not by age; a lesson that was skipped comes first."""
    world = await school.world()
    one, two = await school.level(world), await school.level(world)
    third = await school.lesson(one, week_number=2, day_number=1, order_index=0)
    second = await school.lesson(two, week_number=1, day_number=1, order_index=2, duration_seconds=61.0)
    first = await school.lesson(one, week_number=None, order_index=9)
    learner = await school.person()
    before = await get_next(learner)
    await complete_all(learner, first, third)

    lesson = (await learner.get(PROGRESS)).json()["continue"]

    assert before == str(first.id)
    assert (lesson["lesson_id"], lesson["duration_minutes"]) == (str(second.id), 2)


async def test_a_learner_never_continues_in_a_locked_world(
    school: School, worlds: list[World], clock: TurnableClock
) -> None:
    """When a subscription ends, its learner continues with a free course."""
    [paid, next_paid], [free, next_free] = [await school.lessons_of(worlds[number]) for number in (1, 0)]
    learner, admin = await school.person(subscribed=True), await school.admin()
    await complete_all(learner, free)
    clock.turn(timedelta(minutes=1))
    await complete_all(learner, paid)
    while_subscribed = await get_next(learner)

    await admin.patch(f"/api/admin/users/{learner.user_id}", {"subscription_status": "canceled"})

    progress = (await learner.get(PROGRESS)).json()
    assert while_subscribed == str(next_paid.id)
    assert progress["continue"]["lesson_id"] == str(next_free.id)
    assert [(world["is_locked"], world["completed_count"]) for world in progress["worlds"]] == [
        (False, 1),
        (True, 1),
        (False, 0),
    ]


async def test_a_boss_battle_is_a_lesson_to_continue_with(school: School) -> None:
    world = await school.world()
    level = await school.level(world)
    lesson, boss = await school.lesson(level), await school.lesson(level, is_boss_battle=True)
    learner = await school.person()
    await complete_all(learner, lesson)

    assert await get_next(learner) == str(boss.id)


async def test_there_is_no_lesson_to_continue_with_when_every_open_world_is_complete(
    school: School, worlds: list[World]
) -> None:
    learner = await school.person()
    await complete_all(learner, *await school.lessons_of(worlds[0]), *await school.lessons_of(worlds[2]))

    assert await get_next(learner) is None
