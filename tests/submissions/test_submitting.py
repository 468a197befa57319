"""Submitting videos for boss battles: access, and one at a time."""

import asyncio
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
import sqlalchemy as sa
from litestar import Litestar
from sqlalchemy.exc import IntegrityError

from conftest import START, TurnableClock, counted
from factories import School
from mambo.game.models import ActivityDay, XpEvent
from mambo.progress.models import LessonCompletion
from mambo.submissions.models import Submission
from mambo.submissions.rules import SubmissionStatus
from support.submissions import VIDEO, add_battle, count, create_submission, get_own, grade, submit


async def test_a_submission_is_returned_and_listed_as_pending(school: School) -> None:
    """It neither completes the lesson nor pays XP."""
    battle = await add_battle(school, title="Cross body lead")
    learner = await school.person()

    response = await submit(learner, battle.id)

    assert response.status_code == 201
    assert response.json() == {
        "id": response.json()["id"],
        "lesson_id": str(battle.id),
        "lesson_title": "Cross body lead",
        "status": "pending",
        "video_url": VIDEO,
        "video_status": None,
        "video_message": None,
        "mux_playback_id": None,
        "feedback": None,
        "feedback_video_url": None,
        "submitted_at": "2026-03-02T12:00:00Z",
        "reviewed_at": None,
    }
    assert await get_own(learner) == [response.json()]
    assert (await count(school, LessonCompletion), await count(school, XpEvent)) == (0, 0)


async def test_a_submission_makes_the_day_count(school: School) -> None:
    battle = await add_battle(school)
    learner = await school.person(timezone="Pacific/Kiritimati")

    await create_submission(learner, battle)

    assert await school.scalar(sa.select(ActivityDay.local_date)) == (START + timedelta(hours=14)).date()


async def test_of_fifty_concurrent_submissions_one_succeeds(school: School) -> None:
    battle = await add_battle(school)
    learner = await school.person()

    replies = await asyncio.gather(*(submit(learner, battle.id) for _ in range(50)))

    assert sorted(reply.status_code for reply in replies) == [201] + [409] * 49
    assert {reply.json()["detail"] for reply in replies if reply.status_code == 409} == {
        "You have sent a video for this boss battle already: wait for the feedback on it."
    }
    assert await count(school, Submission) == 1


async def test_a_second_submission_is_refused_while_the_first_is_pending(school: School) -> None:
    battle = await add_battle(school)
    learner = await school.person()
    await create_submission(learner, battle)

    response = await submit(learner, battle.id)

    assert response.status_code == 409
    assert "wait for the feedback" in response.json()["detail"]


async def test_a_submission_is_refused_after_an_approval(school: School) -> None:
    battle = await add_battle(school)
    learner = await school.person()
    await grade(await school.instructor(), await create_submission(learner, battle))

    response = await submit(learner, battle.id)

    assert (response.status_code, response.json()["code"]) == (409, "boss_battle_won")


async def test_another_submission_is_accepted_after_a_rejection(school: School, clock: TurnableClock) -> None:
    """Both are listed with their feedback, the newest first."""
    battle = await add_battle(school)
    learner, instructor = await school.person(), await school.instructor()
    await grade(
        instructor,
        await create_submission(learner, battle),
        "rejected",
        feedback_text="Slower.",
        feedback_video_url="https://video.example/slower.mp4",
    )
    clock.turn(timedelta(minutes=5))

    await create_submission(learner, battle, video_url="https://video.example/again.mp4")

    submissions = await get_own(learner)
    assert [(one["status"], one["feedback"], one["feedback_video_url"], one["reviewed_at"]) for one in submissions] == [
        ("pending", None, None, None),
        ("rejected", "Slower.", "https://video.example/slower.mp4", "2026-03-02T12:00:00Z"),
    ]


async def test_learners_see_only_their_own_submissions(school: School) -> None:
    battle = await add_battle(school)
    ana, ben = await school.person(), await school.person()

    anas, bens = await create_submission(ana, battle), await create_submission(ben, battle)

    assert [one["id"] for one in await get_own(ana)] == [anas]
    assert [one["id"] for one in await get_own(ben)] == [bens]


async def test_a_lesson_that_is_no_boss_battle_accepts_no_submission(school: School) -> None:
    lesson = await add_battle(school, is_boss_battle=False)

    response = await submit(await school.person(), lesson.id)

    assert (response.status_code, response.json()["code"]) == (409, "not_a_boss_battle")


@pytest.mark.parametrize("path", ["submit", "upload-url"])
async def test_submissions_and_uploads_have_the_access_of_the_lesson(school: School, path: str) -> None:
    """A paid course is locked, and a draft looks like an unknown id."""
    paid, draft = [await add_battle(school, world=world) for world in ({"is_free": False}, {"is_published": False})]
    learner = await school.person()
    video = {"video_url": VIDEO} if path == "submit" else {}

    locked, hidden, unknown = [
        await learner.post(f"/api/submissions/{path}", {"lesson_id": str(lesson_id)} | video)
        for lesson_id in (paid.id, draft.id, uuid4())
    ]

    assert (locked.status_code, locked.json()["code"]) == (403, "locked")
    assert (hidden.status_code, unknown.status_code) == (404, 404)
    assert hidden.json() | {"request_id": ""} == unknown.json() | {"request_id": ""}
    assert await count(school, Submission) == 0


async def test_a_subscriber_submits_to_a_paid_course(school: School) -> None:
    battle = await add_battle(school, world={"is_free": False})

    assert await create_submission(await school.person(subscribed=True), battle)


@pytest.mark.parametrize(
    "video",
    [
        {"video_url": None},
        {"video_url": VIDEO, "upload_id": "abc"},
        {"video_url": "ftp://video.example/a.mp4"},
        {"video_url": "javascript:alert(1)"},
        {"video_url": "https://video.example/" + "a" * 2048},
        {"video_url": VIDEO, "status": "approved"},
    ],
)
async def test_an_invalid_submission_is_refused(school: School, video: dict[str, Any]) -> None:
    battle = await add_battle(school)

    response = await submit(await school.person(), battle.id, **video)

    assert response.status_code == 422
    assert await count(school, Submission) == 0


async def test_the_hundred_newest_submissions_are_listed(school: School) -> None:
    battle = await add_battle(school)
    learner = await school.person()
    rejected = {"status": SubmissionStatus.REJECTED, "submitted_at": START, "reviewed_at": START, "video_url": VIDEO}
    rows = [Submission(user_id=learner.user_id, lesson_id=battle.id, **rejected) for _ in range(101)]
    await school.add(*rows)

    shown = await get_own(learner)

    assert [one["id"] for one in shown] == [str(row.id) for row in rows[:0:-1]]


async def test_submissions_are_deleted_with_their_learner_and_keep_no_deleted_reviewer(school: School) -> None:
    battle = await add_battle(school)
    learner, instructor = await school.person(), await school.instructor()
    other = await school.person()
    await create_submission(learner, battle)
    await grade(instructor, await create_submission(other, battle), "rejected")

    async with school.sessions.begin() as session:
        deletion = "DELETE FROM users WHERE id IN (:learner, :reviewer)"
        await session.execute(sa.text(deletion), {"learner": learner.user_id, "reviewer": instructor.user_id})

    assert await school.scalar(sa.select(Submission.user_id)) == other.user_id
    assert await school.scalar(sa.select(Submission.reviewer_id)) is None


# Constraints


@pytest.mark.parametrize(
    ("rows", "constraint"),
    [
        ([{}, {}], "uq_submission_current"),
        ([{}, {"status": "approved", "reviewed_at": START}], "uq_submission_current"),
        ([{"video_url": None}], "ck_submission_one_video"),
        ([{"reviewed_at": START}], "ck_submission_reviewed_once_graded"),
        ([{"status": "rejected"}], "ck_submission_reviewed_once_graded"),
        ([{"status": "lost", "reviewed_at": START}], "ck_submission_submissionstatus"),
    ],
)
async def test_the_database_refuses_an_invalid_submission(
    school: School, rows: list[dict[str, Any]], constraint: str
) -> None:
    battle = await add_battle(school)
    learner = await school.person()
    defaults = {
        "user": learner.user_id,
        "lesson": battle.id,
        "status": "pending",
        "video_url": VIDEO,
        "reviewed_at": None,
    }

    with pytest.raises(IntegrityError, match=f'"{constraint}"'):
        await insert(school, [defaults | row for row in rows])


async def insert(school: School, rows: list[dict[str, Any]]) -> None:
    """Insert by SQL, without the models."""
    query = sa.text(
        "INSERT INTO submission (id, user_id, lesson_id, status, video_url, submitted_at, reviewed_at)"
        " VALUES (gen_random_uuid(), :user, :lesson, :status, :video_url, now(), :reviewed_at)"
    )
    async with school.sessions.begin() as session:
        await session.execute(query, rows)


async def test_a_learner_may_have_several_rejected_submissions(school: School) -> None:
    battle = await add_battle(school)
    learner = await school.person()
    rejected = {"status": SubmissionStatus.REJECTED, "submitted_at": START, "reviewed_at": START, "video_url": VIDEO}

    await school.add(*(Submission(user_id=learner.user_id, lesson_id=battle.id, **rejected) for _ in range(3)))

    assert await create_submission(learner, battle)


async def test_submitting_and_listing_take_a_constant_number_of_statements(school: School, app: Litestar) -> None:
    """To submit: the session, the battle, two for the day, the new row, and the row to return."""
    learner = await school.person()
    battles = [await add_battle(school) for _ in range(10)]
    for battle in battles[1:]:
        await create_submission(learner, battle)

    with counted(app) as submitting:
        await create_submission(learner, battles[0])
    with counted(app) as listing:
        shown = await learner.get("/api/submissions/my-submissions")

    assert len(shown.json()) == 10
    assert (len(submitting), len(listing)) == (6, 2), (submitting, listing)
