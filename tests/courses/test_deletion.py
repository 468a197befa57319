"""Deletes courses, with and without progress of learners."""

import asyncio

import pytest

from factories import School
from mambo.courses.models import Lesson, Level, World
from mambo.game.models import XpEvent
from mambo.submissions.models import Submission

VIDEO = "https://video.example/my-shines.mp4"


async def test_a_course_without_progress_is_deleted_with_its_levels_and_lessons(school: School) -> None:
    world, admin = await school.world(lessons=2), await school.admin()

    response = await admin.delete(f"/api/admin/courses/{world.id}")

    assert (response.status_code, response.content) == (204, b"")
    assert [await school.count(model) for model in (World, Level, Lesson)] == [0, 0, 0]


@pytest.mark.parametrize("query", ["", "?force=false"])
async def test_a_course_with_progress_is_not_deleted(school: School, query: str) -> None:
    world, admin, learner = await school.world(lessons=2), await school.admin(), await school.person()
    [lesson, _] = await school.lessons_of(world)
    await learner.post(f"/api/courses/lessons/{lesson.id}/complete")

    response = await admin.delete(f"/api/admin/courses/{world.id}{query}")

    assert (response.status_code, response.json()["code"]) == (409, "course_has_progress")
    assert await school.count(Lesson) == 2


async def test_a_course_with_progress_is_deleted_by_force_and_the_xp_stays(school: School) -> None:
    world, admin, learner = await school.world(lessons=1), await school.admin(), await school.person()
    [lesson] = await school.lessons_of(world)
    await learner.post(f"/api/courses/lessons/{lesson.id}/complete")

    response = await admin.delete(f"/api/admin/courses/{world.id}?force=true")

    assert response.status_code == 204
    assert [await school.count(model) for model in (World, Lesson, XpEvent)] == [0, 0, 1]
    assert (await learner.get("/api/users/me")).json()["xp"] == 50


@pytest.mark.parametrize("progress", ["a completion", "a submission"])
async def test_a_course_with_progress_is_deleted_only_by_force(school: School, progress: str) -> None:
    """XP that was paid for it stays."""
    world = await school.world()
    lesson = await school.lesson(await school.level(world), is_boss_battle=progress == "a submission")
    learner, admin = await school.person(), await school.admin()
    if progress == "a submission":
        await learner.post("/api/submissions/submit", {"lesson_id": str(lesson.id), "video_url": VIDEO})
    else:
        await learner.post(f"/api/courses/lessons/{lesson.id}/complete")

    refused = await admin.delete(f"/api/admin/courses/{world.id}")
    forced = await admin.delete(f"/api/admin/courses/{world.id}?force=true")

    assert (refused.status_code, forced.status_code) == (409, 204)
    assert refused.json()["code"] == "course_has_progress"
    assert await school.count(Submission) == 0
    assert await school.count(XpEvent) == (0 if progress == "a submission" else 1)


async def test_a_submission_and_a_deletion_at_once_do_not_both_succeed(school: School) -> None:
    """Either the course stays, or the learner gets 404; there is no deadlock."""
    for _ in range(10):
        world = await school.world()
        boss = await school.lesson(await school.level(world), is_boss_battle=True)
        learner, admin = await school.person(), await school.admin()

        sending, deleting = await asyncio.gather(
            learner.post("/api/submissions/submit", {"lesson_id": str(boss.id), "video_url": VIDEO}),
            admin.delete(f"/api/admin/courses/{world.id}"),
        )

        assert (sending.status_code, deleting.status_code) in {(201, 409), (404, 204)}


async def test_a_grade_and_a_deletion_at_once_pay_or_return_404(school: School) -> None:
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
