"""Completing a lesson at a worker whose memory of the course or the learner is outdated."""

from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from litestar import Litestar

from conftest import TurnableClock, counted
from factories import School, calling
from mambo.courses.models import CatalogueRevision, Lesson
from mambo.game.models import ActivityDay, XpEvent
from mambo.progress.models import LessonCompletion
from mambo.users.models import UserProfile
from support.catalogue import Course, add_course, complete, lesson_path, update_lesson, update_world


@pytest.fixture
async def course(school: School) -> Course:
    return await add_course(school)


CHANGES: dict[str, tuple[dict[str, Any], int, int]] = {
    "it pays more": ({"xp_value": 999}, 200, 999),
    "it is a boss battle": ({"is_boss_battle": True}, 409, 0),
    "its course is no longer free": ({"world": {"is_free": False}}, 403, 0),
    "its course is not published": ({"world": {"is_published": False}}, 404, 0),
}


@pytest.mark.parametrize("name", CHANGES)
async def test_a_lesson_is_completed_as_it_is_now(school: School, worker: Litestar, course: Course, name: str) -> None:
    """The worker sees the change by the completion itself."""
    change, status, paid = CHANGES[name]
    learner, [lesson, *_] = calling(worker, await school.person()), course.lessons
    await learner.get(lesson_path(lesson))
    if world := change.get("world"):
        await update_world(school, course.world, **world)
    else:
        await update_lesson(school, lesson, **change)

    response = await complete(learner, lesson)

    assert (response.status_code, response.json().get("xp_gained", 0)) == (status, paid)
    assert (await school.scalar(sa.select(sa.func.sum(XpEvent.amount))) or 0) == paid
    assert await school.scalar(sa.select(sa.func.count()).select_from(LessonCompletion)) == bool(paid)


async def test_a_lesson_that_was_completed_and_is_hidden_now_does_not_exist(
    school: School, worker: Litestar, course: Course
) -> None:
    learner = calling(worker, await school.person())
    await complete(learner, course.lessons[0])
    await update_world(school, course.world, is_published=False)

    assert (await complete(learner, course.lessons[0])).status_code == 404


async def test_a_boss_battle_that_is_an_ordinary_lesson_now_is_completed(school: School, worker: Litestar) -> None:
    lesson = await school.lesson(await school.level(await school.world()), is_boss_battle=True)
    learner = calling(worker, await school.person())
    assert (await complete(learner, lesson)).status_code == 409

    await update_lesson(school, lesson, is_boss_battle=False)

    assert (await complete(learner, lesson)).status_code == 200


async def test_a_new_lesson_is_completed(school: School, worker: Litestar, course: Course) -> None:
    learner = calling(worker, await school.person())
    await learner.get(lesson_path(course.lessons[0]))
    lesson = await school.lesson(course.level)

    assert (await complete(learner, lesson)).status_code == 200


async def test_a_deleted_lesson_is_not_completed(school: School, worker: Litestar, course: Course) -> None:
    learner, [lesson, *_] = calling(worker, await school.person()), course.lessons
    await learner.get(lesson_path(lesson))
    async with school.sessions.begin() as session:
        await session.execute(sa.delete(Lesson).where(Lesson.id == lesson.id))

    assert (await complete(learner, lesson)).status_code == 404


async def test_a_lesson_in_a_course_that_has_just_been_opened_is_completed(school: School, worker: Litestar) -> None:
    course = await add_course(school, is_free=False)
    learner = calling(worker, await school.person())
    assert (await complete(learner, course.lessons[0])).status_code == 403
    await update_world(school, course.world, is_free=True)

    assert (await complete(learner, course.lessons[0])).status_code == 200


async def test_a_lesson_that_has_moved_is_completed_in_its_new_course(
    school: School, worker: Litestar, course: Course
) -> None:
    """The response counts what was completed there before."""
    other = await school.world(lessons=1)
    [beside] = await school.lessons_of(other)
    learner, [lesson, *_] = calling(worker, await school.person()), course.lessons
    await learner.get(lesson_path(lesson))
    await complete(learner, beside)
    await update_lesson(school, lesson, world_id=other.id, level_id=beside.level_id)

    responses = [(await complete(learner, lesson)).json() for _ in range(2)]

    assert [(response["newly_completed"], response["world"]["id"]) for response in responses] == [
        (True, str(other.id)),
        (False, str(other.id)),
    ]
    assert [response["world"]["completed_count"] for response in responses] == [2, 2]


async def test_a_day_counts_in_the_time_zone_in_which_the_learner_is_now(
    school: School, worker: Litestar, course: Course, clock: TurnableClock
) -> None:
    """The worker has another one in memory; 01:00 in UTC is the day before in New York."""
    clock.now = clock.now.replace(hour=1)
    person = await school.person()
    learner = calling(worker, person)
    await learner.get(lesson_path(course.lessons[0]))
    async with school.sessions.begin() as session:
        await session.execute(sa.update(UserProfile).values(timezone="America/New_York"))

    response = await complete(learner, course.lessons[0])

    day = await school.scalar(
        sa.select(ActivityDay.local_date).where(ActivityDay.user_id == person.user_id).order_by(ActivityDay.local_date)
    )
    assert day == clock.now.date() - timedelta(days=1)
    assert response.json()["newly_completed"]


async def test_lessons_are_completed_while_the_catalogue_has_no_revision(
    school: School, worker: Litestar, course: Course
) -> None:
    """As after the migration that added the revision: it found courses, and counted no change."""
    async with school.sessions.begin() as session:
        await session.execute(sa.delete(CatalogueRevision))
    learner = calling(worker, await school.person())

    assert (await complete(learner, course.lessons[0])).json()["newly_completed"]


async def test_nothing_is_stored_while_a_course_changes_all_the_time(
    school: School, worker: Litestar, course: Course, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mambo.progress.service.ATTEMPTS", 1)
    learner = calling(worker, await school.person())
    await learner.get(lesson_path(course.lessons[0]))
    await update_world(school, course.world, title="Renamed")

    responses = [await complete(learner, course.lessons[0]) for _ in range(2)]

    assert [response.status_code for response in responses] == [503, 200]
    assert responses[1].json()["newly_completed"]


async def test_a_completion_is_one_statement_if_the_worker_knows_course_and_learner(
    school: School, worker: Litestar, course: Course
) -> None:
    learner = calling(worker, await school.person())
    await learner.get(lesson_path(course.lessons[0]))

    with counted(worker) as statements:
        responses = [await complete(learner, course.lessons[0]) for _ in range(2)]

    assert [response.json()["newly_completed"] for response in responses] == [True, False]
    assert len(statements) == 2, statements
