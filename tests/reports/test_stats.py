"""What an admin is told and allowed with a look at everyone's progress."""

import asyncio
from datetime import timedelta

import pytest
import sqlalchemy as sa
from asgi_lifespan import LifespanManager

from conftest import TurnableClock
from factories import School, calling
from mambo.app import create_app
from mambo.courses.models import World
from mambo.game.models import XpEvent
from mambo.settings import Settings
from mambo.submissions.models import Submission

VIDEO = "https://video.example/my-shines.mp4"


async def test_the_school_is_shown_in_numbers(school: School, clock: TurnableClock) -> None:
    """Accounts and submissions in all; of the last 30 days who was active, and completions by day."""
    world = await school.world(lessons=1)
    [lesson] = await school.lessons_of(world)
    bosses = [await school.lesson(await school.level(world), is_boss_battle=True) for _ in range(3)]
    admin, ana, ben = await school.admin(), await school.person(), await school.person()
    await ben.post(f"/api/courses/lessons/{lesson.id}/complete")
    clock.turn(timedelta(days=31))
    ana, admin = [await school.sign_in(who.user_id, who.email) for who in (ana, admin)]
    await ana.post(f"/api/courses/lessons/{lesson.id}/complete")
    sent = [
        (await ana.post("/api/submissions/submit", {"lesson_id": str(boss.id), "video_url": VIDEO})).json()["id"]
        for boss in bosses
    ]
    await admin.post(f"/api/admin/submissions/{sent[0]}/grade", {"status": "approved"})
    await admin.post(f"/api/admin/submissions/{sent[1]}/grade", {"status": "rejected", "feedback_text": "Slower."})

    shown = (await admin.get("/api/admin/stats")).json()

    assert shown == {
        "total_users": 3,
        "total_submissions": 3,
        "pending_submissions": 1,
        "active_learners": 1,
        "completions_by_day": [{"date": "2026-04-02", "completions": 2}],
    }


async def test_what_everyone_did_is_counted_once_a_while_and_the_rest_at_each_look(
    school: School, settings: Settings, clock: TurnableClock
) -> None:
    """At a worker that remembers: who has registered shows at once, what they completed only later."""
    lessons = await school.lessons_of(await school.world(lessons=2))
    admin, learner = await school.admin(), await school.person()
    app = create_app(settings, clock=clock, upkeep_seconds=None, memory_seconds=3600)
    async with LifespanManager(app):  # type: ignore[arg-type]
        looks = []
        for lesson in lessons:
            await learner.post(f"/api/courses/lessons/{lesson.id}/complete")
            await school.person()
            looks.append((await calling(app, admin).get("/api/admin/stats")).json())

    assert [look["total_users"] for look in looks] == [3, 4]
    assert [look["completions_by_day"][0]["completions"] for look in looks] == [1, 1]
    assert (await admin.get("/api/admin/stats")).json()["completions_by_day"][0]["completions"] == 2


async def test_a_course_without_progress_is_deleted(school: School) -> None:
    world = await school.world(lessons=1)

    response = await (await school.admin()).delete(f"/api/admin/courses/{world.id}")

    assert response.status_code == 204
    assert await school.scalar(sa.select(World.id)) is None


@pytest.mark.parametrize("progress", ["a completion", "a submission"])
async def test_a_course_with_progress_goes_by_force_alone(school: School, progress: str) -> None:
    """XP that it paid stays."""
    world = await school.world()
    lesson = await school.lesson(await school.level(world), is_boss_battle=progress == "a submission")
    learner, admin = await school.person(), await school.admin()
    if progress == "a submission":
        await learner.post("/api/submissions/submit", {"lesson_id": str(lesson.id), "video_url": VIDEO})
    else:
        await learner.post(f"/api/courses/lessons/{lesson.id}/complete")

    refused = await admin.delete(f"/api/admin/courses/{world.id}")
    forced = await admin.delete(f"/api/admin/courses/{world.id}?force=true")

    assert (refused.status_code, refused.json()["code"], forced.status_code) == (409, "course_has_progress", 204)
    assert await school.scalar(sa.select(sa.func.count()).select_from(Submission)) == 0
    paid = 0 if progress == "a submission" else 1
    assert await school.scalar(sa.select(sa.func.count()).select_from(XpEvent)) == paid


async def test_a_video_that_is_sent_while_its_course_is_deleted_is_not_lost(school: School) -> None:
    """Either the course stays, or the learner is told that the lesson is gone; nobody waits in a circle."""
    for _ in range(10):
        world = await school.world()
        boss = await school.lesson(await school.level(world), is_boss_battle=True)
        learner, admin = await school.person(), await school.admin()

        sending, deleting = await asyncio.gather(
            learner.post("/api/submissions/submit", {"lesson_id": str(boss.id), "video_url": VIDEO}),
            admin.delete(f"/api/admin/courses/{world.id}"),
        )

        assert (sending.status_code, deleting.status_code) in {(201, 409), (404, 204)}


async def test_a_video_that_is_graded_while_its_course_is_deleted_pays_or_is_gone(school: School) -> None:
    for _ in range(10):
        world = await school.world()
        boss = await school.lesson(await school.level(world), is_boss_battle=True)
        learner, admin = await school.person(), await school.admin()
        sent = await learner.post("/api/submissions/submit", {"lesson_id": str(boss.id), "video_url": VIDEO})

        grading, deleting = await asyncio.gather(
            admin.post(f"/api/admin/submissions/{sent.json()['id']}/grade", {"status": "approved"}),
            admin.delete(f"/api/admin/courses/{world.id}?force=true"),
        )

        assert deleting.status_code == 204
        xp = (await learner.get("/api/users/me")).json()["xp"]
        assert (grading.status_code, xp) in {(200, 50), (404, 0)}


async def test_a_course_that_is_not_there_cannot_be_deleted(school: School) -> None:
    admin = await school.admin()

    for query in ("", "?force=true"):
        response = await admin.delete(f"/api/admin/courses/00000000-0000-7000-8000-000000000000{query}")
        assert response.status_code == 404
