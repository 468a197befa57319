"""Answering quizzes over HTTP: what it tells, what it pays, and whom it refuses."""

import asyncio
from collections.abc import AsyncIterator
from copy import deepcopy
from datetime import timedelta
from typing import Any
from uuid import uuid4

import httpx
import pytest
import sqlalchemy as sa
from asgi_lifespan import LifespanManager
from litestar import Litestar
from msgspec.structs import replace
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncEngine

from conftest import TurnableClock, counted
from factories import Caller, School, calling
from mambo.app import create_app
from mambo.courses.models import Lesson
from mambo.game.models import ActivityDay, XpEvent
from mambo.limits.rules import Rate
from mambo.quizzes.models import QuizAttempt
from mambo.settings import Settings
from mambo.users.models import UserProfile
from mambo.users.repository import ProfileRepository
from mambo.web.principal import Role

QUIZ: list[dict[str, Any]] = [
    {
        "id": f"q{number}",
        "question": f"Where is beat {number}?",
        "options": [{"text": "there", "isCorrect": False}, {"text": "here", "isCorrect": True}, {"text": "nowhere"}],
        "explanation": f"Because of the tumbao, {number}.",
    }
    for number in range(1, 5)
] + [{"id": "q5", "question": "And now?", "options": [{"text": "go", "isCorrect": True}, {"text": "stop"}]}]
RIGHT = {"q1": 1, "q2": 1, "q3": 1, "q4": 1, "q5": 0}
WRONG = {"q1": 0, "q2": 2}
COUNT = sa.select(sa.func.count())


@pytest.fixture
async def lesson(school: School) -> Lesson:
    """A lesson with five questions, in a free course."""
    return await quiz_in(school)


async def quiz_in(school: School, **world: Any) -> Lesson:
    return await school.lesson(await school.level(await school.world(**world)), content_json={"quiz": QUIZ})


async def answer(learner: Caller, lesson: Lesson, answers: dict[str, Any]) -> httpx.Response:
    return await learner.post(f"/api/courses/lessons/{lesson.id}/quiz", {"answers": answers})


async def waiting(school: School, number: int) -> None:
    """Return once so many transactions wait for a lock."""
    waiters = sa.select(sa.func.count(sa.column("pid").distinct())).select_from(sa.table("pg_locks"))
    async with asyncio.timeout(30):
        while await school.scalar(waiters.where(~sa.column("granted", sa.Boolean()))) < number:
            pass


# What it tells and pays


async def test_a_first_pass_pays_and_tells_all_a_client_shows_next(school: School, lesson: Lesson) -> None:
    learner = await school.person(xp=390)

    response = await answer(learner, lesson, RIGHT | {"q4": 2})

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


async def test_what_does_not_pass_pays_nothing_and_counts_no_day(school: School, lesson: Lesson) -> None:
    learner = await school.person()

    reply = (await answer(learner, lesson, WRONG)).json()

    assert (reply["score"], reply["passed"], reply["xp_gained"], reply["streak_count"]) == (0, False, 0, 0)
    assert await school.scalar(COUNT.select_from(XpEvent)) == 0
    assert await school.scalar(COUNT.select_from(ActivityDay)) == 0


async def test_attempts_are_numbered_and_the_first_that_passes_pays(school: School, lesson: Lesson) -> None:
    """Each learner's and each lesson's by themselves."""
    ana, ben, other = await school.person(), await school.person(), await quiz_in(school)

    replies = [(await answer(ana, lesson, answers)).json() for answers in (WRONG, RIGHT, WRONG, RIGHT)]
    others = [(await answer(ben, lesson, {})).json(), (await answer(ana, other, RIGHT)).json()]

    assert [reply["attempt"] for reply in replies + others] == [1, 2, 3, 4, 1, 1]
    assert [reply["passed"] for reply in replies] == [False, True, False, True]
    assert [reply["xp_gained"] for reply in replies + others] == [0, 25, 0, 0, 0, 25]
    assert [reply["new_total_xp"] for reply in replies] == [0, 25, 25, 25]
    paid = await school.scalar(sa.select(XpEvent).where(XpEvent.source_id == lesson.id))
    assert (paid.user_id, paid.kind, paid.amount) == (ana.user_id, "quiz", 25)


async def test_a_pass_on_another_day_counts_that_day(school: School, lesson: Lesson, clock: TurnableClock) -> None:
    """Though it pays no more."""
    learner = await school.person()
    await answer(learner, lesson, RIGHT)
    clock.turn(timedelta(days=1))

    reply = (await answer(learner, lesson, RIGHT)).json()

    assert (reply["xp_gained"], reply["streak_count"]) == (0, 2)


async def test_an_attempt_keeps_what_was_asked_when_the_quiz_changes_later(school: School, lesson: Lesson) -> None:
    """The new quiz is asked from then on, and paid no second time."""
    learner, admin = await school.person(), await school.admin()
    await answer(learner, lesson, RIGHT)
    changed = deepcopy(QUIZ[:1])
    changed[0]["options"] = [{"text": "everywhere", "isCorrect": True}, {"text": "there"}]

    await admin.patch(f"/api/admin/lessons/{lesson.id}", {"content_json": {"quiz": changed}})

    again = (await answer(learner, lesson, {"q1": 0})).json()
    assert (again["score"], again["attempt"], again["xp_gained"]) == (100, 2, 0)
    first = await school.scalar(sa.select(QuizAttempt).where(QuizAttempt.number == 1))
    assert (first.quiz, first.answers, first.score, first.passed) == (QUIZ, RIGHT, 100, True)
    assert (await answer(learner, lesson, RIGHT)).status_code == 422


async def test_completing_says_whether_the_quiz_is_passed(school: School, lesson: Lesson) -> None:
    """One's own, once it is, for good; null where there is none."""
    ana, ben = await school.person(), await school.person()
    path = f"/api/courses/lessons/{lesson.id}/complete"
    await answer(ben, lesson, RIGHT)
    seen = [(await ana.post(path)).json()["quiz_passed"]]
    for answers in (WRONG, RIGHT, WRONG):
        await answer(ana, lesson, answers)
        seen.append((await ana.post(path)).json()["quiz_passed"])

    await (await school.admin()).patch(f"/api/admin/lessons/{lesson.id}", {"content_json": {"quiz": []}})

    assert seen == [False, False, True, True]
    assert (await ana.post(path)).json()["quiz_passed"] is None


# Whom it refuses


@pytest.mark.parametrize(
    ("answers", "fields"),
    [
        ({"q9": 0}, ["answers.q9"]),
        ({"q1": 3}, ["answers.q1"]),
        ({"q1": -1}, ["answers.q1"]),
        (RIGHT | {"q5": 2, "tumbao": 0}, ["answers.q5", "answers.tumbao"]),
        ({"q1": None}, ["answers[...]"]),
        ({"q1": "here"}, ["answers[...]"]),
        ({"q1": [1]}, ["answers[...]"]),
        ({f"q{number}": 0 for number in range(51)}, ["answers"]),
        ({"x" * 65: 0}, ["answers"]),
        ([1, 0], ["answers"]),
    ],
)
async def test_answers_that_fit_no_question_are_refused_and_are_no_attempt(
    school: School, lesson: Lesson, answers: Any, fields: list[str]
) -> None:
    """The refusal names each, tells no answer, and counts for no limit."""
    learner = await school.person()

    refusals = [await answer(learner, lesson, answers) for _ in range(11)]

    assert [refusal.status_code for refusal in refusals] == [422] * 11
    assert [problem["field"] for problem in refusals[0].json()["errors"]] == fields
    assert not any(word in refusals[0].text for word in ("isCorrect", "explanation", "Because"))
    assert await school.scalar(COUNT.select_from(QuizAttempt)) == 0
    assert (await answer(learner, lesson, RIGHT)).json()["attempt"] == 1


async def test_what_a_client_says_of_its_own_score_is_refused(school: School, lesson: Lesson) -> None:
    learner = await school.person()

    response = await learner.post(f"/api/courses/lessons/{lesson.id}/quiz", {"answers": {}, "score": 100})

    assert (response.status_code, response.json()["errors"][0]["field"]) == (422, "score")


@pytest.mark.parametrize("content", [None, {}, {"notes": "Only notes"}, {"quiz": []}])
async def test_a_lesson_without_a_quiz_has_none_to_answer(school: School, content: dict[str, Any] | None) -> None:
    lesson = await school.lesson(await school.level(await school.world()), content_json=content)
    learner = await school.person()

    response = await answer(learner, lesson, {})

    assert (response.status_code, response.json()["code"]) == (404, "no_quiz")


async def test_a_quiz_is_answered_by_whoever_may_read_the_lesson(school: School) -> None:
    """A draft looks like nothing, whether or not the answers fit; what is not paid for is locked."""
    paid, draft = await quiz_in(school, is_free=False), await quiz_in(school, is_published=False)
    learner, subscriber = await school.person(), await school.person(subscribed=True)
    nothing = Lesson(id=uuid4())

    codes = [
        (response.status_code, response.json()["code"])
        for response in [await answer(learner, lesson, {"q9": 0}) for lesson in (paid, draft, nothing)]
    ]

    assert codes == [(403, "locked"), (404, "not_found"), (404, "not_found")]
    assert (await answer(subscriber, paid, RIGHT)).status_code == 200
    assert (await answer(subscriber, draft, RIGHT)).json()["detail"] == "There is no such lesson."


@pytest.mark.parametrize("role", [Role.INSTRUCTOR, Role.ADMIN])
async def test_staff_may_try_drafts(school: School, role: Role) -> None:
    draft = await quiz_in(school, is_published=False, is_free=False)
    teacher = await school.person(role)

    assert (await answer(teacher, draft, RIGHT)).json()["passed"] is True


async def test_no_answer_leaves_before_an_attempt(school: School, lesson: Lesson) -> None:
    """Wherever a learner meets the lesson, nor after one but in its reply."""
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

    before = [await who.get(path) for who, path in readings]
    attempt = await answer(learner, lesson, {})
    after = [await who.get(path) for who, path in readings]
    completed = await learner.post(f"/api/courses/lessons/{lesson.id}/complete")

    for response in (*before, *after, completed):
        assert response.status_code == 200
        assert not any(word in response.text for word in ("isCorrect", "explanation", "Because")), response.url
    assert "Because of the tumbao" in attempt.text
    assert "isCorrect" not in attempt.text


# The limit


async def test_ten_attempts_an_hour_and_no_more(school: School, lesson: Lesson, clock: TurnableClock) -> None:
    """At this lesson, and by this learner; the eleventh leaves nothing behind, not even XP."""
    ana, ben, other = await school.person(), await school.person(), await quiz_in(school)
    for _ in range(10):
        await answer(ana, lesson, WRONG)
    clock.turn(timedelta(minutes=20))

    refused = await answer(ana, lesson, RIGHT)

    assert (refused.status_code, refused.json()["code"]) == (429, "too_many")
    assert refused.json()["detail"] == "You answered this quiz many times. Try again in 40 minutes."
    assert refused.headers["retry-after"] == "2400"
    assert [(await answer(ana, other, {})).status_code, (await answer(ben, lesson, {})).status_code] == [200, 200]
    assert await school.scalar(sa.select(UserProfile.xp).where(UserProfile.user_id == ana.user_id)) == 0
    clock.turn(timedelta(minutes=40))
    assert (await answer(ana, lesson, RIGHT)).json()["attempt"] == 11


async def test_of_many_attempts_at_once_ten_get_through(school: School, lesson: Lesson) -> None:
    learner = await school.person()

    replies = await asyncio.gather(*(answer(learner, lesson, WRONG) for _ in range(30)))

    assert sorted(reply.status_code for reply in replies) == [200] * 10 + [429] * 20
    assert sorted(reply.json()["attempt"] for reply in replies if reply.is_success) == list(range(1, 11))


# Many at once


@pytest.fixture
async def unlimited(settings: Settings, clock: TurnableClock, school: School) -> AsyncIterator[Litestar]:
    """An app that lets a learner try as often as they like."""
    del school
    limits = settings.limits | {"LIMIT_QUIZ": Rate(100_000, 3600)}
    app = create_app(replace(settings, limits=limits), clock=clock, upkeep_seconds=None)
    async with LifespanManager(app):  # type: ignore[arg-type]
        yield app


async def test_fifty_passes_at_once_pay_once_and_are_numbered_without_gaps(
    school: School, lesson: Lesson, unlimited: Litestar
) -> None:
    learner = calling(unlimited, await school.person())

    replies = await asyncio.gather(*(answer(learner, lesson, RIGHT) for _ in range(50)))

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
    """They wait for each other in no circle: all succeed, and each is paid once."""
    learner = calling(unlimited, await school.person())
    complete = f"/api/courses/lessons/{lesson.id}/complete"

    replies = await asyncio.gather(
        *(answer(learner, lesson, RIGHT) for _ in range(20)), *(learner.post(complete) for _ in range(20))
    )

    assert [reply.status_code for reply in replies] == [200] * 40
    assert sum(reply.json()["xp_gained"] for reply in replies) == 75
    assert await school.scalar(sa.select(sa.func.sum(XpEvent.amount))) == 75
    assert await school.scalar(sa.select(UserProfile.xp).where(UserProfile.user_id == learner.user_id)) == 75


async def test_a_lesson_that_is_deleted_takes_its_attempts_along(school: School, lesson: Lesson) -> None:
    """The XP stays, and a late attempt finds nothing."""
    learner, admin = await school.person(), await school.admin()
    await answer(learner, lesson, RIGHT)

    assert (await admin.delete(f"/api/admin/lessons/{lesson.id}")).status_code == 204

    assert (await answer(learner, lesson, RIGHT)).status_code == 404
    assert await school.scalar(COUNT.select_from(QuizAttempt)) == 0
    assert (await learner.get("/api/users/me")).json()["xp"] == 25


async def test_a_lesson_that_is_deleted_while_its_quiz_is_graded_pays_nothing(school: School, lesson: Lesson) -> None:
    """The attempt waits for the learner's profile, as behind another payment, and is refused in a sentence."""
    learner, admin = await school.person(), await school.admin()
    async with school.sessions() as session, session.begin():
        await ProfileRepository(session).lock(learner.user_id)
        attempt = asyncio.create_task(answer(learner, lesson, RIGHT))
        await waiting(school, 1)
        await admin.delete(f"/api/admin/lessons/{lesson.id}")

    refused = await attempt

    assert (refused.status_code, refused.json()["code"]) == (409, "conflict")
    assert refused.json()["detail"] == "This lesson was deleted a moment ago: choose another."
    assert await school.scalar(COUNT.select_from(XpEvent)) == 0


# The database


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
async def test_the_database_refuses_an_attempt_that_cannot_be(
    school: School, lesson: Lesson, engine: AsyncEngine, change: dict[str, Any], constraint: str
) -> None:
    learner = await school.person()
    await answer(learner, lesson, RIGHT)
    table = sa.select(QuizAttempt.__table__)
    async with engine.connect() as connection:
        row = dict((await connection.execute(table)).mappings().one())

    with pytest.raises(IntegrityError, match=constraint):
        await school.add(QuizAttempt(**row | {"id": uuid4(), "number": 2} | change))


async def test_an_attempt_takes_a_constant_number_of_statements(school: School, app: Litestar) -> None:
    """Six that do not pass, nine that do; a second pass pays nothing."""
    quiz = [QUIZ[0] | {"id": f"q{number}"} for number in range(50)]
    lesson = await school.lesson(await school.level(await school.world(lessons=30)), content_json={"quiz": quiz})
    learner = await school.person()
    seen = []

    for option in (0, 1, 1):
        with counted(app) as statements:
            await answer(learner, lesson, {question["id"]: option for question in quiz})
        seen.append(len(statements))

    assert seen == [6, 9, 9]
