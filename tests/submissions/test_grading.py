"""Grading: by staff, once, never their own; an approval completes the lesson and pays once."""

import asyncio
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
import sqlalchemy as sa
from litestar import Litestar

from conftest import TurnableClock, counted
from factories import School
from mambo.courses.models import Lesson
from mambo.game.models import XpEvent, XpKind
from mambo.progress.models import LessonCompletion
from mambo.submissions.models import Submission
from mambo.submissions.rules import SubmissionStatus
from mambo.users.models import UserProfile
from mambo.web.principal import Role
from support.submissions import VIDEO, add_battle, count, create_submission, get_own, grade


async def test_an_approval_completes_the_lesson_and_pays_its_xp(school: School, clock: TurnableClock) -> None:
    battle = await add_battle(school, title="On two")
    learner, instructor = await school.person(), await school.instructor()
    submission_id = await create_submission(learner, battle)
    clock.turn(timedelta(hours=1))

    response = await grade(instructor, submission_id, feedback_text="Beautiful.")

    assert response.status_code == 200
    assert response.json() == {
        "id": submission_id,
        "lesson_id": str(battle.id),
        "status": "approved",
        "video_url": VIDEO,
        "video_status": None,
        "video_message": None,
        "mux_playback_id": None,
        "feedback": "Beautiful.",
        "feedback_video_url": None,
        "submitted_at": "2026-03-02T12:00:00Z",
        "reviewed_at": "2026-03-02T13:00:00Z",
        "learner": response.json()["learner"] | {"id": str(learner.user_id), "avatar_url": None, "level": 1},
        "lesson": {"id": str(battle.id), "title": "On two"},
        "world": response.json()["world"] | {"id": str(battle.world_id)},
        "reviewer_name": response.json()["reviewer_name"],
        "xp_gained": 120,
    }
    assert response.json()["learner"]["name"].startswith("Ana Nr")
    assert response.json()["reviewer_name"].startswith("Ana Nr")
    assert (await learner.get("/api/users/me")).json()["xp"] == 120
    assert (await learner.get(f"/api/courses/lessons/{battle.id}")).json()["is_completed"] is True
    async with school.sessions() as session:
        [event] = await session.scalars(sa.select(XpEvent))
    assert (event.kind, event.source_id, event.amount) == (XpKind.BOSS, battle.id, 120)


async def test_a_rejection_pays_nothing(school: School) -> None:
    battle = await add_battle(school)
    learner = await school.person()

    response = await grade(await school.admin(), await create_submission(learner, battle), "rejected")

    assert (response.status_code, response.json()["status"], response.json()["xp_gained"]) == (200, "rejected", 0)
    assert (await count(school, LessonCompletion), await count(school, XpEvent)) == (0, 0)


async def test_of_twenty_concurrent_grades_one_succeeds(school: School) -> None:
    """Half of them approve, half reject. The XP follows the one that succeeds; the others are 409."""
    graders = [await school.instructor() for _ in range(5)]
    learner = await school.person()
    total = 0
    for _ in range(5):
        battle = await add_battle(school)
        submission_id = await create_submission(learner, battle)
        statuses = ["approved", "rejected"] * 10

        replies = await asyncio.gather(
            *(grade(graders[number % 5], submission_id, status) for number, status in enumerate(statuses))
        )

        [winner] = [reply.json() for reply in replies if reply.status_code == 200]
        others = [reply for reply in replies if reply.status_code != 200]
        assert {(reply.status_code, reply.json()["code"]) for reply in others} == {(409, "graded_already")}
        total += 120 if winner["status"] == "approved" else 0
        assert winner["xp_gained"] == (120 if winner["status"] == "approved" else 0)
        shown = (await get_own(learner))[0]
        assert (shown["id"], shown["status"]) == (submission_id, winner["status"])
        assert (await learner.get("/api/users/me")).json()["xp"] == total
    assert await count(school, LessonCompletion) == await count(school, XpEvent) == total // 120
    assert await school.scalar(sa.select(sa.func.sum(XpEvent.amount))) in {None, total}


async def test_concurrent_grading_and_submitting_do_not_deadlock(school: School) -> None:
    """A learner submits again and again while two requests grade; at most one submission is pending."""
    battle = await add_battle(school)
    learner, instructor = await school.person(), await school.instructor()

    async def submit_often() -> list[int]:
        return [(await learner.post("/api/submissions/submit", video_for(battle))).status_code for _ in range(25)]

    async def reject_often() -> list[int]:
        statuses = []
        for _ in range(25):
            queue = (await instructor.get("/api/admin/submissions?status=pending")).json()["items"]
            statuses += [(await grade(instructor, one["id"], "rejected")).status_code for one in queue]
        return statuses

    submitting, *grading = await asyncio.gather(submit_often(), reject_often(), reject_often())

    assert set(submitting) <= {201, 409}
    assert {status for statuses in grading for status in statuses} <= {200, 409}
    assert await count(school, Submission) == submitting.count(201)


def video_for(lesson: Lesson) -> dict[str, str]:
    return {"lesson_id": str(lesson.id), "video_url": VIDEO}


async def test_a_battle_pays_once(school: School) -> None:
    """Even if its approval was reverted in the database, because the ledger has the payment."""
    battle = await add_battle(school)
    learner, instructor = await school.person(), await school.instructor()
    await grade(instructor, await create_submission(learner, battle))
    async with school.sessions.begin() as session:
        await session.execute(sa.update(Submission).values(status=SubmissionStatus.REJECTED))

    again = await grade(instructor, await create_submission(learner, battle))

    assert (again.status_code, again.json()["status"], again.json()["xp_gained"]) == (200, "approved", 0)
    assert await school.scalar(sa.select(UserProfile.xp).where(UserProfile.user_id == learner.user_id)) == 120
    assert (await count(school, LessonCompletion), await count(school, XpEvent)) == (1, 1)


@pytest.mark.parametrize("first", ["approved", "rejected"])
@pytest.mark.parametrize("second", ["approved", "rejected"])
async def test_a_grade_is_final(school: School, first: str, second: str) -> None:
    battle = await add_battle(school)
    learner, instructor = await school.person(), await school.instructor()
    submission_id = await create_submission(learner, battle)
    await grade(instructor, submission_id, first)

    response = await grade(await school.admin(), submission_id, second)

    assert (response.status_code, response.json()["code"]) == (409, "graded_already")
    [shown] = await get_own(learner)
    assert shown["status"] == first


@pytest.mark.parametrize("role", [Role.INSTRUCTOR, Role.ADMIN])
@pytest.mark.parametrize("status", ["approved", "rejected"])
async def test_staff_may_not_grade_their_own_submission(school: School, role: Role, status: str) -> None:
    battle = await add_battle(school)
    dancer = await school.person(role)
    submission_id = await create_submission(dancer, battle)

    response = await grade(dancer, submission_id, status)

    assert (response.status_code, response.json()["code"]) == (403, "not_allowed")
    assert (await grade(await school.instructor(), submission_id)).status_code == 200


async def test_learners_may_not_grade(school: School) -> None:
    battle = await add_battle(school)
    submission_id = await create_submission(await school.person(), battle)

    response = await grade(await school.person(), submission_id)

    assert response.status_code == 403
    assert await school.scalar(sa.select(Submission.status)) == SubmissionStatus.PENDING


async def test_an_unknown_submission_is_not_found(school: School) -> None:
    response = await grade(await school.instructor(), str(uuid4()))

    assert (response.status_code, response.json()["detail"]) == (404, "There is no such submission.")


@pytest.mark.parametrize(
    "body",
    [
        {"status": "rejected"},
        {"status": "rejected", "feedback_text": " \n"},
        {"status": "rejected", "feedback_video_url": "ftp://video.example/a.mp4"},
        {"status": "pending"},
        {"feedback_text": "Well done."},
        {"status": "approved", "xp": 1_000_000},
    ],
)
async def test_an_invalid_grade_is_refused(school: School, body: dict[str, Any]) -> None:
    """A rejection needs feedback."""
    battle = await add_battle(school)
    submission_id = await create_submission(await school.person(), battle)

    response = await (await school.admin()).post(f"/api/admin/submissions/{submission_id}/grade", body)

    assert response.status_code == 422
    assert await school.scalar(sa.select(Submission.status)) == SubmissionStatus.PENDING


async def test_the_feedback_of_a_rejection_may_be_a_video(school: School) -> None:
    battle = await add_battle(school)
    submission_id = await create_submission(await school.person(), battle)

    response = await grade(await school.admin(), submission_id, "rejected", feedback_video_url="https://v.example/a")

    assert (response.status_code, response.json()["feedback_video_url"]) == (200, "https://v.example/a")


async def test_a_grade_takes_a_constant_number_of_statements(school: School, app: Litestar) -> None:
    """The session, the battle, the profile's lock, the grade, the completion, two for the XP, and what is shown."""
    battle, other = await add_battle(school), await add_battle(school)
    learner, instructor = await school.person(), await school.instructor()
    approved, rejected = await create_submission(learner, battle), await create_submission(learner, other)

    with counted(app) as approving:
        await grade(instructor, approved)
    with counted(app) as rejecting:
        await grade(instructor, rejected, "rejected")

    assert (len(approving), len(rejecting)) == (8, 5), (approving, rejecting)
