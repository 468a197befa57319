"""Completing lessons: paid once, in order, with the streak."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from conftest import TurnableClock
from factories import School
from mambo.courses.models import Lesson, World
from mambo.game.models import ActivityDay, XpEvent
from mambo.progress.models import LessonCompletion
from mambo.progress.repository import CompletionRepository
from mambo.users.models import UserProfile
from mambo.users.repository import ProfileRepository
from support.catalogue import complete
from support.locks import wait_for_waiters
from support.quizzes import CORRECT, QUIZ, attempt

# The lesson that completes its world is stored in a transaction, and any other lesson in a single statement.
LESSONS = pytest.mark.parametrize("lessons", [1, 2], ids=["the last lesson", "not the last lesson"])


def expected_completion(course: World, *, lessons: int, next_lesson: Lesson | None, quiz_passed: bool | None) -> Any:
    """Return the response to a first completion that pays 70 XP, in a course with this many lessons."""
    return {
        "xp_gained": 70,
        "new_total_xp": 70,
        "leveled_up": False,
        "new_level": 1,
        "newly_completed": True,
        "streak_count": 1,
        "next_lesson_id": next_lesson and str(next_lesson.id),
        "quiz_passed": quiz_passed,
        "world": {
            "id": str(course.id),
            "lesson_count": lessons,
            "completed_count": 1,
            "progress_percentage": 100.0 / lessons,
            "is_complete": lessons == 1,
        },
    }


async def test_a_first_completion_pays_the_lessons_xp(school: School) -> None:
    """The response has everything that a client shows next."""
    course = await school.world()
    level = await school.level(course)
    first = await school.lesson(level, xp_value=70)
    second = await school.lesson(level)

    response = await complete(await school.person(), first)

    assert response.json() == expected_completion(course, lessons=2, next_lesson=second, quiz_passed=None)


async def test_the_completion_of_the_last_lesson_has_the_same_fields(school: School) -> None:
    course = await school.world()
    lesson = await school.lesson(await school.level(course), xp_value=70, content_json={"quiz": QUIZ})

    response = await complete(await school.person(), lesson)

    assert response.json() == expected_completion(course, lessons=1, next_lesson=None, quiz_passed=False)


@LESSONS
async def test_a_second_completion_pays_nothing_and_returns_the_same_totals(school: School, lessons: int) -> None:
    [lesson, *_] = await school.lessons_of(await school.world(lessons=lessons))
    learner = await school.person()
    first = (await complete(learner, lesson)).json()

    again = await complete(learner, lesson)

    assert again.status_code == 200
    assert again.json() == first | {"newly_completed": False, "xp_gained": 0}


@LESSONS
async def test_fifty_concurrent_completions_pay_once(school: School, lessons: int) -> None:
    """Fifty responses of 200, one of them new; one completion, one ledger row, the XP of one, one day."""
    [lesson, *_] = await school.lessons_of(await school.world(lessons=lessons))
    learner = await school.person()

    responses = await asyncio.gather(*(complete(learner, lesson) for _ in range(50)))

    assert [response.status_code for response in responses] == [200] * 50
    assert sum(response.json()["newly_completed"] for response in responses) == 1
    assert {response.json()["new_total_xp"] for response in responses} == {50}
    for table in (LessonCompletion, XpEvent, ActivityDay):
        assert await school.scalar(sa.select(sa.func.count()).select_from(table)) == 1
    assert await school.scalar(sa.select(UserProfile.xp).where(UserProfile.user_id == learner.user_id)) == 50


async def test_the_last_lesson_of_a_world_completes_it_for_the_learner(school: School) -> None:
    """Another learner has only begun it. A second completion returns the same."""
    world, other = await school.world(lessons=3), await school.world(lessons=1)
    lessons = await school.lessons_of(world)
    ana, ben = await school.person(), await school.person()
    await complete(ben, lessons[0])
    await complete(ana, (await school.lessons_of(other))[0])

    worlds = [(await complete(ana, lesson)).json()["world"] for lesson in (*lessons, lessons[0])]

    assert [world["completed_count"] for world in worlds] == [1, 2, 3, 3]
    assert [world["progress_percentage"] for world in worlds] == [33.3, 66.7, 100.0, 100.0]
    assert [world["is_complete"] for world in worlds] == [False, False, True, True]
    assert (await complete(ben, lessons[0])).json()["world"]["completed_count"] == 1


async def test_of_a_worlds_last_lessons_completed_concurrently_one_completes_it(school: School) -> None:
    """The response to the completion that is stored last counts all the others."""
    learner = await school.person()
    for _ in range(5):
        lessons = await school.lessons_of(await school.world(lessons=4))

        responses = await asyncio.gather(*(complete(learner, lesson) for lesson in lessons))

        worlds = [response.json()["world"] for response in responses]
        assert sorted(world["completed_count"] for world in worlds) == [1, 2, 3, 4]
        assert sum(world["is_complete"] for world in worlds) == 1


async def test_a_quiz_a_completion_and_the_deletion_of_a_course_do_not_deadlock(school: School) -> None:
    """A payment locks the learner's profile before anything of the course."""
    level = await school.level(await school.world())
    first, second = await school.lesson(level, content_json={"quiz": QUIZ}), await school.lesson(level)
    learner = await school.person()
    async with school.sessions() as deleting, deleting.begin():
        await deleting.execute(sa.select(Lesson.id).where(Lesson.id == first.id).with_for_update())
        passing = asyncio.create_task(attempt(learner, first, CORRECT))
        await wait_for_waiters(school, 1)
        completing = asyncio.create_task(complete(learner, second))
        await wait_for_waiters(school, 2)

        free = sa.select(Lesson.id).where(Lesson.id == second.id).with_for_update(nowait=True)

        assert await deleting.scalar(free) == second.id
    assert [(await passing).status_code, (await completing).status_code] == [200, 200]


@LESSONS
async def test_a_completion_waits_for_the_profile_before_it_stores_anything(
    school: School, clock: TurnableClock, lessons: int
) -> None:
    """The transaction that holds the profile stores the same completion: there is no deadlock."""
    [lesson, *_] = await school.lessons_of(await school.world(lessons=lessons))
    learner = await school.person()
    async with school.sessions() as holder, holder.begin():
        await ProfileRepository(holder).lock(learner.user_id)
        completing = asyncio.create_task(complete(learner, lesson))
        await wait_for_waiters(school, 1)

        assert await CompletionRepository(holder).add_once(learner.user_id, lesson.id, clock()) == lesson.world_id

    assert ((await completing).status_code, (await completing).json()["newly_completed"]) == (200, False)
    assert await school.scalar(sa.select(sa.func.count()).select_from(XpEvent)) == 0


@LESSONS
async def test_a_completion_counts_the_day_of_the_time_zone_that_it_waited_for(
    school: School, clock: TurnableClock, lessons: int
) -> None:
    """12:00 UTC on 2 March is 02:00 on 3 March in Kiritimati."""
    [lesson, *_] = await school.lessons_of(await school.world(lessons=lessons))
    learner = await school.person()
    async with school.sessions() as holder, holder.begin():
        await holder.execute(sa.update(UserProfile).values(timezone="Pacific/Kiritimati"))
        completing = asyncio.create_task(complete(learner, lesson))
        await wait_for_waiters(school, 1)

    assert (await completing).json()["newly_completed"] is True
    assert await school.scalar(sa.select(ActivityDay.local_date)) == clock().date() + timedelta(days=1)


async def test_only_the_completion_that_reaches_a_level_reports_it(school: School) -> None:
    """390 XP are level 1, and 400 XP are level 2."""
    level = await school.level(await school.world())
    lesson = await school.lesson(level, xp_value=10)
    later = await school.lesson(level, xp_value=10)
    learner = await school.person(xp=390)

    reaching = (await complete(learner, lesson)).json()
    again = (await complete(learner, lesson)).json()
    after = (await complete(learner, later)).json()

    assert (reaching["leveled_up"], reaching["new_level"]) == (True, 2)
    assert (again["leveled_up"], again["new_level"]) == (False, 2)
    assert (after["leveled_up"], after["new_level"]) == (False, 2)


async def test_a_streak_grows_by_local_days_and_ends_after_a_missed_one(school: School, clock: TurnableClock) -> None:
    """Midnight is the learner's: 23:00 and 01:00 in New York are two days, but one day in UTC."""
    lessons = await school.lessons_of(await school.world(lessons=4))
    learner = await school.person(timezone="America/New_York")
    streaks = []
    clock.now = clock.now.replace(hour=4)  # 23:00 of 1 March in New York
    for lesson, hours in zip(lessons, (2, 24, 48, 0), strict=True):
        streaks.append((await complete(learner, lesson)).json()["streak_count"])
        clock.turn(timedelta(hours=hours))

    assert streaks == [1, 2, 3, 1]


async def test_a_boss_battle_is_not_completed_without_a_submission(school: School) -> None:
    boss = await school.lesson(await school.level(await school.world()), is_boss_battle=True)
    learner = await school.person()

    response = await complete(learner, boss)

    assert (response.status_code, response.json()["code"]) == (409, "boss_battle")
    assert await school.scalar(sa.select(sa.func.count()).select_from(XpEvent)) == 0


async def test_deleting_a_lesson_keeps_the_xp_that_it_paid(school: School) -> None:
    [lesson] = await school.lessons_of(await school.world(lessons=1))
    learner, admin = await school.person(), await school.admin()
    await complete(learner, lesson)

    assert (await admin.delete(f"/api/admin/lessons/{lesson.id}")).status_code == 204

    assert (await learner.get("/api/users/me")).json()["xp"] == 50
    assert await school.scalar(sa.select(sa.func.count()).select_from(XpEvent)) == 1


async def test_the_path_of_the_first_web_client_completes_too(school: School) -> None:
    [lesson] = await school.lessons_of(await school.world(lessons=1))
    learner = await school.person()

    response = await learner.post(f"/api/progress/lessons/{lesson.id}/complete")

    assert response.json()["newly_completed"] is True
