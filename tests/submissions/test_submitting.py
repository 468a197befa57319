"""Sending a video for a boss battle: one at a time, by whoever may open the lesson."""

import asyncio
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
import sqlalchemy as sa
from litestar import Litestar
from sqlalchemy.exc import IntegrityError

from conftest import START, TurnableClock, counted
from factories import Caller, School
from mambo.courses.models import Lesson
from mambo.game.models import ActivityDay, XpEvent
from mambo.progress.models import LessonCompletion
from mambo.submissions.models import Submission
from mambo.submissions.rules import SubmissionStatus

VIDEO = "https://video.example/my-shines.mp4"


async def boss_of(school: School, *, world: dict[str, Any] | None = None, **lesson: Any) -> Lesson:
    """A boss battle, in a course of its own."""
    level = await school.level(await school.world(**world or {}))
    return await school.lesson(level, **{"is_boss_battle": True, "xp_value": 120} | lesson)


async def submit(learner: Caller, lesson_id: UUID, **video: Any) -> Any:
    return await learner.post(
        "/api/submissions/submit", {"lesson_id": str(lesson_id)} | (video or {"video_url": VIDEO})
    )


async def sent(learner: Caller, lesson: Lesson, **video: Any) -> str:
    """The id of a submission that was just made."""
    response = await submit(learner, lesson.id, **video)
    assert response.status_code == 201, response.text
    submission_id: str = response.json()["id"]
    return submission_id


async def grade(grader: Caller, submission_id: str, status: str = "approved", **feedback: Any) -> Any:
    if status == "rejected" and not feedback:
        feedback = {"feedback_text": "Keep your frame."}
    return await grader.post(f"/api/admin/submissions/{submission_id}/grade", {"status": status} | feedback)


async def count(school: School, model: type[Any]) -> int:
    number: int = await school.scalar(sa.select(sa.func.count()).select_from(model))
    return number


async def test_a_video_is_sent_and_waits_for_its_grade(school: School) -> None:
    """It pays and completes nothing yet."""
    boss = await boss_of(school, title="Cross body lead")
    learner = await school.person()

    response = await submit(learner, boss.id)

    assert response.status_code == 201
    assert response.json() == {
        "id": response.json()["id"],
        "lesson_id": str(boss.id),
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
    assert (await learner.get("/api/submissions/my-submissions")).json() == [response.json()]
    assert (await count(school, LessonCompletion), await count(school, XpEvent)) == (0, 0)


async def test_sending_a_video_makes_the_day_count(school: School) -> None:
    boss = await boss_of(school)
    learner = await school.person(timezone="Pacific/Kiritimati")

    await sent(learner, boss)

    assert await school.scalar(sa.select(ActivityDay.local_date)) == (START + timedelta(hours=14)).date()


async def test_fifty_videos_at_once_are_one_submission(school: School) -> None:
    """The others are told to wait."""
    boss = await boss_of(school)
    learner = await school.person()

    replies = await asyncio.gather(*(submit(learner, boss.id) for _ in range(50)))

    assert sorted(reply.status_code for reply in replies) == [201] + [409] * 49
    assert {reply.json()["detail"] for reply in replies if reply.status_code == 409} == {
        "You have sent a video for this boss battle already: wait for the feedback on it."
    }
    assert await count(school, Submission) == 1


async def test_a_second_video_waits_for_the_feedback_on_the_first(school: School) -> None:
    boss = await boss_of(school)
    learner = await school.person()
    await sent(learner, boss)

    response = await submit(learner, boss.id)

    assert response.status_code == 409
    assert "wait for the feedback" in response.json()["detail"]


async def test_whoever_has_won_needs_no_other_video(school: School) -> None:
    boss = await boss_of(school)
    learner = await school.person()
    await grade(await school.instructor(), await sent(learner, boss))

    response = await submit(learner, boss.id)

    assert (response.status_code, response.json()["code"]) == (409, "boss_battle_won")


async def test_after_a_rejection_another_video_may_be_sent(school: School, clock: TurnableClock) -> None:
    """Both are shown, the newest first, with what was said of them."""
    boss = await boss_of(school)
    learner, instructor = await school.person(), await school.instructor()
    await grade(
        instructor,
        await sent(learner, boss),
        "rejected",
        feedback_text="Slower.",
        feedback_video_url="https://video.example/slower.mp4",
    )
    clock.turn(timedelta(minutes=5))

    await sent(learner, boss, video_url="https://video.example/again.mp4")

    shown = (await learner.get("/api/submissions/my-submissions")).json()
    assert [(one["status"], one["feedback"], one["feedback_video_url"], one["reviewed_at"]) for one in shown] == [
        ("pending", None, None, None),
        ("rejected", "Slower.", "https://video.example/slower.mp4", "2026-03-02T12:00:00Z"),
    ]


async def test_others_may_send_videos_for_the_same_battle(school: School) -> None:
    boss = await boss_of(school)
    ana, ben = await school.person(), await school.person()

    anas, bens = await sent(ana, boss), await sent(ben, boss)

    assert [one["id"] for one in (await ana.get("/api/submissions/my-submissions")).json()] == [anas]
    assert [one["id"] for one in (await ben.get("/api/submissions/my-submissions")).json()] == [bens]


async def test_a_lesson_that_is_no_boss_battle_takes_no_video(school: School) -> None:
    lesson = await boss_of(school, is_boss_battle=False)

    response = await submit(await school.person(), lesson.id)

    assert (response.status_code, response.json()["code"]) == (409, "not_a_boss_battle")


@pytest.mark.parametrize("path", ["submit", "upload-url"])
async def test_the_door_is_the_one_of_every_lesson(school: School, path: str) -> None:
    """A paid course is locked, a draft does not exist, and answers as an id that nobody has."""
    paid, draft = [await boss_of(school, world=world) for world in ({"is_free": False}, {"is_published": False})]
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


async def test_a_subscription_opens_the_battle(school: School) -> None:
    boss = await boss_of(school, world={"is_free": False})

    assert await sent(await school.person(subscribed=True), boss)


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
async def test_a_video_that_cannot_be_used_is_told(school: School, video: dict[str, Any]) -> None:
    boss = await boss_of(school)

    response = await submit(await school.person(), boss.id, **video)

    assert response.status_code == 422
    assert await count(school, Submission) == 0


async def test_no_more_than_the_newest_hundred_are_shown(school: School) -> None:
    boss = await boss_of(school)
    learner = await school.person()
    rejected = {"status": SubmissionStatus.REJECTED, "submitted_at": START, "reviewed_at": START, "video_url": VIDEO}
    rows = [Submission(user_id=learner.user_id, lesson_id=boss.id, **rejected) for _ in range(101)]
    await school.add(*rows)

    shown = (await learner.get("/api/submissions/my-submissions")).json()

    assert [one["id"] for one in shown] == [str(row.id) for row in rows[:0:-1]]


async def test_a_learner_goes_with_their_submissions(school: School) -> None:
    boss = await boss_of(school)
    learner, instructor = await school.person(), await school.instructor()
    other = await school.person()
    await sent(learner, boss)
    await grade(instructor, await sent(other, boss), "rejected")

    async with school.sessions.begin() as session:
        gone = "DELETE FROM users WHERE id IN (:learner, :reviewer)"
        await session.execute(sa.text(gone), {"learner": learner.user_id, "reviewer": instructor.user_id})

    assert await school.scalar(sa.select(Submission.user_id)) == other.user_id
    assert await school.scalar(sa.select(Submission.reviewer_id)) is None


# What the database holds, whatever the code does


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
async def test_the_database_refuses_what_cannot_be(school: School, rows: list[dict[str, Any]], constraint: str) -> None:
    boss = await boss_of(school)
    learner = await school.person()
    defaults = {
        "user": learner.user_id,
        "lesson": boss.id,
        "status": "pending",
        "video_url": VIDEO,
        "reviewed_at": None,
    }

    with pytest.raises(IntegrityError, match=f'"{constraint}"'):
        await insert(school, [defaults | row for row in rows])


async def insert(school: School, rows: list[dict[str, Any]]) -> None:
    """Raw SQL, past models and code."""
    query = sa.text(
        "INSERT INTO submission (id, user_id, lesson_id, status, video_url, submitted_at, reviewed_at)"
        " VALUES (gen_random_uuid(), :user, :lesson, :status, :video_url, now(), :reviewed_at)"
    )
    async with school.sessions.begin() as session:
        await session.execute(query, rows)


async def test_any_number_may_have_been_rejected(school: School) -> None:
    boss = await boss_of(school)
    learner = await school.person()
    rejected = {"status": SubmissionStatus.REJECTED, "submitted_at": START, "reviewed_at": START, "video_url": VIDEO}

    await school.add(*(Submission(user_id=learner.user_id, lesson_id=boss.id, **rejected) for _ in range(3)))

    assert await sent(learner, boss)


async def test_a_video_is_sent_and_ones_own_are_read_in_few_statements(school: School, app: Litestar) -> None:
    """Five to send one: the session, the battle, two for the day, the row; two to read them, however many."""
    learner = await school.person()
    bosses = [await boss_of(school) for _ in range(10)]
    for boss in bosses[1:]:
        await sent(learner, boss)

    with counted(app) as sending:
        await sent(learner, bosses[0])
    with counted(app) as reading:
        shown = await learner.get("/api/submissions/my-submissions")

    assert len(shown.json()) == 10
    assert (len(sending), len(reading)) == (5, 2), (sending, reading)
