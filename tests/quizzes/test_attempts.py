"""Attempts at quizzes: their result, XP, access and limits."""

import asyncio
from collections.abc import AsyncIterator
from copy import deepcopy
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
import sqlalchemy as sa
from asgi_lifespan import LifespanManager
from litestar import Litestar
from msgspec.structs import replace
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncEngine

from conftest import TurnableClock, counted
from factories import School, calling
from mambo.app import create_app
from mambo.courses.models import Lesson
from mambo.game.models import ActivityDay, XpEvent
from mambo.limits.rules import Rate
from mambo.quizzes.models import QuizAttempt
from mambo.settings import Settings
from mambo.users.models import UserProfile
from mambo.users.repository import ProfileRepository
from mambo.web.principal import Role
from support.locks import wait_for_waiters
from support.quizzes import CORRECT, QUIZ, WRONG, add_quiz, attempt

COUNT = sa.select(sa.func.count())


@pytest.fixture
async def lesson(school: School) -> Lesson:
    """A lesson with a quiz of five questions, in a free course."""
    return await add_quiz(school)


# Results and XP


async def test_the_result_of_the_first_pass(school: School, lesson: Lesson) -> None:
    learner = await school.person(xp=390)

    response = await attempt(learner, lesson, CORRECT | {"q4": 2})

    assert response.status_code == 200
    assert response.json() == {
        "score": 80,
        "passed": True,
        "correct": {"q1": True, "q2": True, "q3": True, "q4": False, "q5": True},
        "explanations": {f"q{number}": f"Because of the tumbao, {number}." for number in range(1, 5)} | {"q5": None},
        "attempt": 1,
        "xp_gained": 25,
        "new_total_xp": 415,
        "leveled_up": True,
        "new_level": 2,
        "streak_count": 1,
    }


async def test_a_failed_attempt_pays_nothing_and_counts_no_day(school: School, lesson: Lesson) -> None:
    learner = await school.person()

    reply = (await attempt(learner, lesson, WRONG)).json()

    assert (reply["score"], reply["passed"], reply["xp_gained"], reply["streak_count"]) == (0, False, 0, 0)
    assert await school.scalar(COUNT.select_from(XpEvent)) == 0
    assert await school.scalar(COUNT.select_from(ActivityDay)) == 0


async def test_attempts_are_numbered_and_the_first_pass_pays(school: School, lesson: Lesson) -> None:
    """For each learner and lesson separately."""
    ana, ben, other = await school.person(), await school.person(), await add_quiz(school)

    replies = [(await attempt(ana, lesson, answers)).json() for answers in (WRONG, CORRECT, WRONG, CORRECT)]
    others = [(await attempt(ben, lesson, {})).json(), (await attempt(ana, other, CORRECT)).json()]

    assert [reply["attempt"] for reply in replies + others] == [1, 2, 3, 4, 1, 1]
    assert [reply["passed"] for reply in replies] == [False, True, False, True]
    assert [reply["xp_gained"] for reply in replies + others] == [0, 25, 0, 0, 0, 25]
    assert [reply["new_total_xp"] for reply in replies] == [0, 25, 25, 25]
    paid = await school.scalar(sa.select(XpEvent).where(XpEvent.source_id == lesson.id))
    assert (paid.user_id, paid.kind, paid.amount) == (ana.user_id, "quiz", 25)


async def test_a_pass_on_another_day_counts_that_day(school: School, lesson: Lesson, clock: TurnableClock) -> None:
    """It pays nothing more."""
    learner = await school.person()
    await attempt(learner, lesson, CORRECT)
    clock.turn(timedelta(days=1))

    reply = (await attempt(learner, lesson, CORRECT)).json()

    assert (reply["xp_gained"], reply["streak_count"]) == (0, 2)


async def test_an_attempt_keeps_its_questions_when_the_quiz_changes(school: School, lesson: Lesson) -> None:
    """Later attempts are at the new quiz, which pays nothing more."""
    learner, admin = await school.person(), await school.admin()
    await attempt(learner, lesson, CORRECT)
    changed = deepcopy(QUIZ[:1])
    changed[0]["options"] = [{"text": "everywhere", "isCorrect": True}, {"text": "there"}]

    await admin.patch(f"/api/admin/lessons/{lesson.id}", {"content_json": {"quiz": changed}})

    again = (await attempt(learner, lesson, {"q1": 0})).json()
    assert (again["score"], again["attempt"], again["xp_gained"]) == (100, 2, 0)
    first = await school.scalar(sa.select(QuizAttempt).where(QuizAttempt.number == 1))
    assert (first.quiz, first.answers, first.score, first.passed) == (QUIZ, CORRECT, 100, True)
    assert (await attempt(learner, lesson, CORRECT)).status_code == 422


async def test_completing_reports_whether_the_learner_has_passed_the_quiz(school: School, lesson: Lesson) -> None:
    """Once passed it stays passed; null when the lesson has no quiz."""
    ana, ben = await school.person(), await school.person()
    path = f"/api/courses/lessons/{lesson.id}/complete"
    await attempt(ben, lesson, CORRECT)
    seen = [(await ana.post(path)).json()["quiz_passed"]]
    for answers in (WRONG, CORRECT, WRONG):
        await attempt(ana, lesson, answers)
        seen.append((await ana.post(path)).json()["quiz_passed"])

    await (await school.admin()).patch(f"/api/admin/lessons/{lesson.id}", {"content_json": {"quiz": []}})

    assert seen == [False, False, True, True]
    assert (await ana.post(path)).json()["quiz_passed"] is None


# Refusals


@pytest.mark.parametrize(
    ("answers", "fields"),
    [
        ({"q9": 0}, ["answers.q9"]),
        ({"q1": 3}, ["answers.q1"]),
        ({"q1": -1}, ["answers.q1"]),
        (CORRECT | {"q5": 2, "tumbao": 0}, ["answers.q5", "answers.tumbao"]),
        ({"q1": None}, ["answers[...]"]),
        ({"q1": "here"}, ["answers[...]"]),
        ({"q1": [1]}, ["answers[...]"]),
        ({f"q{number}": 0 for number in range(51)}, ["answers"]),
        ({"x" * 65: 0}, ["answers"]),
        ([1, 0], ["answers"]),
    ],
)
async def test_invalid_answers_are_refused_and_are_no_attempt(
    school: School, lesson: Lesson, answers: Any, fields: list[str]
) -> None:
    """The response names each field, contains no correct option, and does not count against the limit."""
    learner = await school.person()

    refusals = [await attempt(learner, lesson, answers) for _ in range(11)]

    assert [refusal.status_code for refusal in refusals] == [422] * 11
    assert [problem["field"] for problem in refusals[0].json()["errors"]] == fields
    assert not any(word in refusals[0].text for word in ("isCorrect", "explanation", "Because"))
    assert await school.scalar(COUNT.select_from(QuizAttempt)) == 0
    assert (await attempt(learner, lesson, CORRECT)).json()["attempt"] == 1


async def test_a_score_in_the_request_is_refused(school: School, lesson: Lesson) -> None:
    learner = await school.person()

    response = await learner.post(f"/api/courses/lessons/{lesson.id}/quiz", {"answers": {}, "score": 100})

    assert (response.status_code, response.json()["errors"][0]["field"]) == (422, "score")


@pytest.mark.parametrize("content", [None, {}, {"notes": "Only notes"}, {"quiz": []}])
async def test_a_lesson_without_a_quiz_is_not_found(school: School, content: dict[str, Any] | None) -> None:
    lesson = await school.lesson(await school.level(await school.world()), content_json=content)
    learner = await school.person()

    response = await attempt(learner, lesson, {})

    assert (response.status_code, response.json()["code"]) == (404, "no_quiz")


async def test_a_quiz_has_the_access_of_its_lesson(school: School) -> None:
    """A draft looks like an unknown id, also for invalid answers; a paid course is locked."""
    paid, draft = await add_quiz(school, is_free=False), await add_quiz(school, is_published=False)
    learner, subscriber = await school.person(), await school.person(subscribed=True)
    unknown = Lesson(id=uuid4())

    codes = [
        (response.status_code, response.json()["code"])
        for response in [await attempt(learner, lesson, {"q9": 0}) for lesson in (paid, draft, unknown)]
    ]

    assert codes == [(403, "locked"), (404, "not_found"), (404, "not_found")]
    assert (await attempt(subscriber, paid, CORRECT)).status_code == 200
    assert (await attempt(subscriber, draft, CORRECT)).json()["detail"] == "There is no such lesson."


@pytest.mark.parametrize("role", [Role.INSTRUCTOR, Role.ADMIN])
async def test_staff_may_attempt_drafts(school: School, role: Role) -> None:
    draft = await add_quiz(school, is_published=False, is_free=False)
    teacher = await school.person(role)

    assert (await attempt(teacher, draft, CORRECT)).json()["passed"] is True


async def test_correct_options_are_only_in_the_result_of_an_attempt(school: School, lesson: Lesson) -> None:
    learner, visitor = await school.person(), school.client
    readings: list[tuple[Any, str]] = [
        (learner, "/api/courses/worlds"),
        (learner, f"/api/courses/worlds/{lesson.world_id}/lessons"),
        (learner, f"/api/courses/lessons/{lesson.id}"),
        (learner, "/api/progress/me"),
        (learner, "/api/users/me"),
        (visitor, "/api/courses/worlds"),
        (visitor, f"/api/courses/worlds/{lesson.world_id}/lessons"),
    ]

    before = [await caller.get(path) for caller, path in readings]
    result = await attempt(learner, lesson, {})
    after = [await caller.get(path) for caller, path in readings]
    completed = await learner.post(f"/api/courses/lessons/{lesson.id}/complete")

    for response in (*before, *after, completed):
        assert response.status_code == 200
        assert not any(word in response.text for word in ("isCorrect", "explanation", "Because")), response.url
    assert "Because of the tumbao" in result.text
    assert "isCorrect" not in result.text


# Limit


async def test_the_eleventh_attempt_within_an_hour_is_refused(
    school: School, lesson: Lesson, clock: TurnableClock
) -> None:
    """For each lesson and learner separately; a refused attempt stores nothing and pays nothing."""
    ana, ben, other = await school.person(), await school.person(), await add_quiz(school)
    for _ in range(10):
        await attempt(ana, lesson, WRONG)
    clock.turn(timedelta(minutes=20))

    refused = await attempt(ana, lesson, CORRECT)

    assert (refused.status_code, refused.json()["code"]) == (429, "too_many")
    assert refused.json()["detail"] == "You answered this quiz many times. Try again in 40 minutes."
    assert refused.headers["retry-after"] == "2400"
    assert [(await attempt(ana, other, {})).status_code, (await attempt(ben, lesson, {})).status_code] == [200, 200]
    assert await school.scalar(sa.select(UserProfile.xp).where(UserProfile.user_id == ana.user_id)) == 0
    clock.turn(timedelta(minutes=40))
    assert (await attempt(ana, lesson, CORRECT)).json()["attempt"] == 11


async def test_of_thirty_concurrent_attempts_ten_succeed(school: School, lesson: Lesson) -> None:
    learner = await school.person()

    replies = await asyncio.gather(*(attempt(learner, lesson, WRONG) for _ in range(30)))

    assert sorted(reply.status_code for reply in replies) == [200] * 10 + [429] * 20
    assert sorted(reply.json()["attempt"] for reply in replies if reply.is_success) == list(range(1, 11))


# Concurrency


@pytest.fixture
async def unlimited(settings: Settings, clock: TurnableClock, school: School) -> AsyncIterator[Litestar]:
    """An app without a limit on attempts."""
    del school
    limits = settings.limits | {"LIMIT_QUIZ": Rate(100_000, 3600)}
    app = create_app(replace(settings, limits=limits), clock=clock, runs_jobs=False)
    async with LifespanManager(app):  # type: ignore[arg-type]
        yield app


async def test_fifty_concurrent_passes_pay_once_and_are_numbered_without_gaps(
    school: School, lesson: Lesson, unlimited: Litestar
) -> None:
    learner = calling(unlimited, await school.person())

    replies = await asyncio.gather(*(attempt(learner, lesson, CORRECT) for _ in range(50)))

    bodies = [reply.json() for reply in replies]
    assert [reply.status_code for reply in replies] == [200] * 50
    assert sorted(body["attempt"] for body in bodies) == list(range(1, 51))
    assert sorted(body["xp_gained"] for body in bodies) == [0] * 49 + [25]
    assert [body["xp_gained"] for body in bodies if body["attempt"] == 1] == [25]
    assert {body["new_total_xp"] for body in bodies} == {25}
    assert await school.scalar(COUNT.select_from(XpEvent)) == 1
    assert await school.scalar(sa.select(UserProfile.xp).where(UserProfile.user_id == learner.user_id)) == 25


async def test_a_lesson_is_completed_while_its_quiz_is_passed(
    school: School, lesson: Lesson, unlimited: Litestar
) -> None:
    """There is no deadlock: all succeed, and each is paid once."""
    learner = calling(unlimited, await school.person())
    complete = f"/api/courses/lessons/{lesson.id}/complete"

    replies = await asyncio.gather(
        *(attempt(learner, lesson, CORRECT) for _ in range(20)), *(learner.post(complete) for _ in range(20))
    )

    assert [reply.status_code for reply in replies] == [200] * 40
    assert sum(reply.json()["xp_gained"] for reply in replies) == 75
    assert await school.scalar(sa.select(sa.func.sum(XpEvent.amount))) == 75
    assert await school.scalar(sa.select(UserProfile.xp).where(UserProfile.user_id == learner.user_id)) == 75


async def test_a_lesson_is_deleted_with_its_attempts(school: School, lesson: Lesson) -> None:
    """The XP stays, and later attempts are 404."""
    learner, admin = await school.person(), await school.admin()
    await attempt(learner, lesson, CORRECT)

    assert (await admin.delete(f"/api/admin/lessons/{lesson.id}")).status_code == 204

    assert (await attempt(learner, lesson, CORRECT)).status_code == 404
    assert await school.scalar(COUNT.select_from(QuizAttempt)) == 0
    assert (await learner.get("/api/users/me")).json()["xp"] == 25


async def test_an_attempt_at_a_lesson_that_is_being_deleted_is_a_conflict(school: School, lesson: Lesson) -> None:
    """The attempt waits for the lock on the profile, as it does during another payment."""
    learner, admin = await school.person(), await school.admin()
    async with school.sessions() as session, session.begin():
        await ProfileRepository(session).lock(learner.user_id)
        pending = asyncio.create_task(attempt(learner, lesson, CORRECT))
        await wait_for_waiters(school, 1)
        await admin.delete(f"/api/admin/lessons/{lesson.id}")

    refused = await pending

    assert (refused.status_code, refused.json()["code"]) == (409, "conflict")
    assert refused.json()["detail"] == "This lesson was deleted a moment ago: choose another."
    assert await school.scalar(COUNT.select_from(XpEvent)) == 0


# Constraints


@pytest.mark.parametrize(
    ("change", "constraint"),
    [
        ({"number": 1}, "uq_quiz_attempt_number"),
        ({"number": 0}, "ck_quiz_attempt_number_positive"),
        ({"score": 101}, "ck_quiz_attempt_score_in_percent"),
        ({"score": -1}, "ck_quiz_attempt_score_in_percent"),
        ({"lesson_id": uuid4()}, "fk_quiz_attempt_lesson_id_lesson"),
        ({"user_id": uuid4()}, "fk_quiz_attempt_user_id_users"),
    ],
)
async def test_the_database_refuses_an_invalid_attempt(
    school: School, lesson: Lesson, engine: AsyncEngine, change: dict[str, Any], constraint: str
) -> None:
    learner = await school.person()
    await attempt(learner, lesson, CORRECT)
    table = sa.select(QuizAttempt.__table__)
    async with engine.connect() as connection:
        row = dict((await connection.execute(table)).mappings().one())

    with pytest.raises(IntegrityError, match=constraint):
        await school.add(QuizAttempt(**row | {"id": uuid4(), "number": 2} | change))


async def test_an_attempt_takes_a_constant_number_of_statements(school: School, app: Litestar) -> None:
    """Six for a failed attempt, nine for a pass."""
    quiz = [QUIZ[0] | {"id": f"q{number}"} for number in range(50)]
    lesson = await school.lesson(await school.level(await school.world(lessons=30)), content_json={"quiz": quiz})
    learner = await school.person()
    seen = []

    for option in (0, 1, 1):
        with counted(app) as statements:
            await attempt(learner, lesson, {question["id"]: option for question in quiz})
        seen.append(len(statements))

    assert seen == [6, 9, 9]
