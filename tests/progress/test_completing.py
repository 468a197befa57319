"""Completing lessons: paid once, in order, with the streak."""

import asyncio
from datetime import timedelta

import sqlalchemy as sa

from conftest import TurnableClock
from factories import School
from mambo.courses.models import Lesson
from mambo.game.models import ActivityDay, XpEvent
from mambo.progress.models import LessonCompletion
from mambo.progress.repository import CompletionRepository
from mambo.users.models import UserProfile
from mambo.users.repository import ProfileRepository
from support.locks import wait_for_waiters as waiting
from support.quizzes import CORRECT as RIGHT
from support.quizzes import QUIZ
from support.quizzes import attempt as answer


async def test_a_first_completion_pays_the_lessons_xp(school: School) -> None:
    """The reply carries all a client shows next."""
    world = await school.world()
    level = await school.level(world)
    first = await school.lesson(level, xp_value=70)
    second = await school.lesson(level)
    learner = await school.person()

    response = await learner.post(f"/api/courses/lessons/{first.id}/complete")

    assert response.json() == {
        "xp_gained": 70,
        "new_total_xp": 70,
        "leveled_up": False,
        "new_level": 1,
        "newly_completed": True,
        "streak_count": 1,
        "next_lesson_id": str(second.id),
        "quiz_passed": None,
        "world": {
            "id": str(world.id),
            "lesson_count": 2,
            "completed_count": 1,
            "progress_percentage": 50.0,
            "is_complete": False,
        },
    }


async def test_a_second_completion_pays_nothing_and_answers_the_same_totals(school: School) -> None:
    world = await school.world(lessons=1)
    [lesson] = await school.lessons_of(world)
    learner = await school.person()
    first = (await learner.post(f"/api/courses/lessons/{lesson.id}/complete")).json()

    again = await learner.post(f"/api/courses/lessons/{lesson.id}/complete")

    assert again.status_code == 200
    assert again.json() == first | {"newly_completed": False, "xp_gained": 0}


async def test_fifty_completions_at_once_pay_once(school: School) -> None:
    """Fifty replies of 200, one of them new; one completion, one ledger row, the XP of one."""
    world = await school.world()
    lesson = await school.lesson(await school.level(world), xp_value=50)
    learner = await school.person()

    replies = await asyncio.gather(*(learner.post(f"/api/courses/lessons/{lesson.id}/complete") for _ in range(50)))

    assert [reply.status_code for reply in replies] == [200] * 50
    assert sum(reply.json()["newly_completed"] for reply in replies) == 1
    assert {reply.json()["new_total_xp"] for reply in replies} == {50}
    assert await school.scalar(sa.select(sa.func.count()).select_from(LessonCompletion)) == 1
    assert await school.scalar(sa.select(sa.func.count()).select_from(XpEvent)) == 1
    assert await school.scalar(sa.select(UserProfile.xp).where(UserProfile.user_id == learner.user_id)) == 50


async def test_the_last_lesson_of_a_world_completes_it(school: School) -> None:
    """The learner's own: another has only begun it. Completing it again says the same."""
    world, other = await school.world(lessons=3), await school.world(lessons=1)
    lessons = await school.lessons_of(world)
    ana, ben = await school.person(), await school.person()
    paths = [f"/api/courses/lessons/{lesson.id}/complete" for lesson in lessons]
    await ben.post(paths[0])
    await ana.post(f"/api/courses/lessons/{(await school.lessons_of(other))[0].id}/complete")

    worlds = [(await ana.post(path)).json()["world"] for path in (*paths, paths[0])]

    assert [world["completed_count"] for world in worlds] == [1, 2, 3, 3]
    assert [world["progress_percentage"] for world in worlds] == [33.3, 66.7, 100.0, 100.0]
    assert [world["is_complete"] for world in worlds] == [False, False, True, True]
    assert (await ben.post(paths[0])).json()["world"]["completed_count"] == 1


async def test_of_a_worlds_last_lessons_completed_at_once_the_later_completes_it(school: School) -> None:
    """Whichever is stored last knows of all the others: somebody shows the fireworks, and only once."""
    learner = await school.person()
    for _ in range(5):
        lessons = await school.lessons_of(await school.world(lessons=4))

        replies = await asyncio.gather(
            *(learner.post(f"/api/courses/lessons/{lesson.id}/complete") for lesson in lessons)
        )

        worlds = [reply.json()["world"] for reply in replies]
        assert sorted(world["completed_count"] for world in worlds) == [1, 2, 3, 4]
        assert sum(world["is_complete"] for world in worlds) == 1


async def test_no_circle_of_a_quiz_a_completion_and_the_deletion_of_a_course(school: School) -> None:
    """Whoever is paid locks their profile before anything of the course, so that nobody waits for whoever waits."""
    level = await school.level(await school.world())
    first, second = await school.lesson(level, content_json={"quiz": QUIZ}), await school.lesson(level)
    learner = await school.person()
    async with school.sessions() as deleting, deleting.begin():
        await deleting.execute(sa.select(Lesson.id).where(Lesson.id == first.id).with_for_update())
        attempt = asyncio.create_task(answer(learner, first, RIGHT))
        await waiting(school, 1)
        completion = asyncio.create_task(learner.post(f"/api/courses/lessons/{second.id}/complete"))
        await waiting(school, 2)

        free = sa.select(Lesson.id).where(Lesson.id == second.id).with_for_update(nowait=True)

        assert await deleting.scalar(free) == second.id
    assert [(await attempt).status_code, (await completion).status_code] == [200, 200]


async def test_a_completion_waits_for_the_profile_before_it_stores_anything(
    school: School, clock: TurnableClock
) -> None:
    """The transaction that holds the profile may store the same completion meanwhile: there is no deadlock."""
    [lesson] = await school.lessons_of(await school.world(lessons=1))
    learner = await school.person()
    async with school.sessions() as holder, holder.begin():
        await ProfileRepository(holder).lock(learner.user_id)
        completion = asyncio.create_task(learner.post(f"/api/courses/lessons/{lesson.id}/complete"))
        await waiting(school, 1)

        assert await CompletionRepository(holder).complete(learner.user_id, lesson.id, clock())

    assert ((await completion).status_code, (await completion).json()["newly_completed"]) == (200, False)
    assert await school.scalar(sa.select(sa.func.count()).select_from(XpEvent)) == 0


async def test_a_completion_counts_the_day_of_the_time_zone_that_it_waited_for(
    school: School, clock: TurnableClock
) -> None:
    """12:00 UTC on 2 March is 02:00 on 3 March in Kiritimati."""
    [lesson] = await school.lessons_of(await school.world(lessons=1))
    learner = await school.person()
    async with school.sessions() as holder, holder.begin():
        await holder.execute(sa.update(UserProfile).values(timezone="Pacific/Kiritimati"))
        completion = asyncio.create_task(learner.post(f"/api/courses/lessons/{lesson.id}/complete"))
        await waiting(school, 1)

    assert (await completion).json()["newly_completed"] is True
    assert await school.scalar(sa.select(ActivityDay.local_date)) == clock().date() + timedelta(days=1)


async def test_the_write_that_crosses_a_level_says_so_and_no_other(school: School) -> None:
    """390 XP are level 1, 400 level 2."""
    world = await school.world()
    level = await school.level(world)
    lesson = await school.lesson(level, xp_value=10)
    later = await school.lesson(level, xp_value=10)
    learner = await school.person(xp=390)

    crossing = (await learner.post(f"/api/courses/lessons/{lesson.id}/complete")).json()
    again = (await learner.post(f"/api/courses/lessons/{lesson.id}/complete")).json()
    after = (await learner.post(f"/api/courses/lessons/{later.id}/complete")).json()

    assert (crossing["leveled_up"], crossing["new_level"]) == (True, 2)
    assert (again["leveled_up"], again["new_level"]) == (False, 2)
    assert (after["leveled_up"], after["new_level"]) == (False, 2)


async def test_a_streak_grows_by_local_days_and_breaks_after_a_missed_one(school: School, clock: TurnableClock) -> None:
    """Midnight is the learner's: 23:00 and 01:00 in New York are two days, though one in UTC."""
    world = await school.world(lessons=4)
    lessons = await school.lessons_of(world)
    learner = await school.person(timezone="America/New_York")
    streaks = []
    clock.now = clock.now.replace(hour=4)  # 23:00 of 1 March in New York
    for lesson, wait in zip(lessons, (2, 24, 48, 0), strict=True):
        reply = await learner.post(f"/api/courses/lessons/{lesson.id}/complete")
        streaks.append(reply.json()["streak_count"])
        clock.turn(timedelta(hours=wait))

    assert streaks == [1, 2, 3, 1]


async def test_a_boss_battle_is_not_completed_by_asking(school: School) -> None:
    world = await school.world()
    boss = await school.lesson(await school.level(world), is_boss_battle=True)
    learner = await school.person()

    response = await learner.post(f"/api/courses/lessons/{boss.id}/complete")

    assert (response.status_code, response.json()["code"]) == (409, "boss_battle")
    assert await school.scalar(sa.select(sa.func.count()).select_from(XpEvent)) == 0


async def test_deleting_a_lesson_keeps_the_xp_it_paid(school: School) -> None:
    world = await school.world(lessons=1)
    [lesson] = await school.lessons_of(world)
    learner, admin = await school.person(), await school.admin()
    await learner.post(f"/api/courses/lessons/{lesson.id}/complete")

    assert (await admin.delete(f"/api/admin/lessons/{lesson.id}")).status_code == 204

    assert (await learner.get("/api/users/me")).json()["xp"] == 50
    assert await school.scalar(sa.select(sa.func.count()).select_from(XpEvent)) == 1


async def test_the_first_web_clients_address_completes_too(school: School) -> None:
    world = await school.world(lessons=1)
    [lesson] = await school.lessons_of(world)
    learner = await school.person()

    response = await learner.post(f"/api/progress/lessons/{lesson.id}/complete")

    assert response.json()["newly_completed"] is True
