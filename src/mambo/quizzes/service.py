"""Answering quizzes."""

from datetime import datetime
from uuid import UUID

import msgspec
from litestar.di import NamedDependency
from sqlalchemy.ext.asyncio import AsyncSession

from mambo.access.rules import access_of, require_open
from mambo.courses.repository import LessonRepository
from mambo.courses.schemas import QuizQuestion
from mambo.database.session import Transactions
from mambo.errors import NotFound
from mambo.game.models import ActivityReason, XpKind
from mambo.game.repository import ActivityRepository, LedgerRepository
from mambo.game.rules import QUIZ_XP, level_of
from mambo.limits.rules import QUIZ
from mambo.limits.service import RateLimiter
from mambo.quizzes import rules
from mambo.quizzes.repository import AttemptRepository
from mambo.quizzes.schemas import QuizResult
from mambo.users.repository import ProfileRepository
from mambo.web.principal import Principal
from mambo.web.schemas import to_json


class QuizService:
    """Grades what a learner answers, and pays for the first pass."""

    def __init__(self, session: AsyncSession, transactions: Transactions, limiter: RateLimiter, now: datetime) -> None:
        self.transactions, self.limits = transactions, limiter
        self.profiles = ProfileRepository(session)
        self.attempts = AttemptRepository(session)
        self.ledger = LedgerRepository(session)
        self.activity = ActivityRepository(session)
        self.now = now

    async def attempt(self, lesson_id: UUID, learner: Principal, answers: dict[str, int]) -> QuizResult:
        """Grade and store an attempt; the first that passes pays, however many are sent at once.

        Raises:
            NotFound, NotAllowed: the learner may not read the lesson, or it has no quiz.
            Invalid: an answer fits no question.
            TooMany: the learner tried this quiz too often; only valid attempts count.
            Conflict: the lesson is deleted at this moment.

        """
        questions = await self._questions(lesson_id, learner)
        rules.require_answers_to(questions, answers)
        # Counting may take a connection of its own, which nobody may wait for who holds one.
        await self.limits.hit(QUIZ, f"{learner.user_id}:{lesson_id}")
        grade = rules.grade(questions, answers)
        await self.profiles.lock(learner.user_id)
        number = await self.attempts.add_next(
            user_id=learner.user_id,
            lesson_id=lesson_id,
            score=grade.score,
            passed=grade.passed,
            answers=answers,
            quiz=to_json(questions),
            at=self.now,
        )
        paid = await self._reward(learner.user_id, lesson_id) if grade.passed else 0
        standing = await self.ledger.get_standing(learner.user_id)
        return QuizResult(
            score=grade.score,
            passed=grade.passed,
            correct=grade.correct,
            explanations={question.id: question.explanation or None for question in questions},
            attempt=number,
            xp_gained=paid,
            new_total_xp=standing.xp,
            leveled_up=standing.level > level_of(standing.xp - paid),
            new_level=standing.level,
            streak_count=standing.streak_at(self.now),
        )

    async def _questions(self, lesson_id: UUID, learner: Principal) -> list[QuizQuestion]:
        async with self.transactions.begin() as session:
            lesson, world = await LessonRepository(session).get_with_world(lesson_id)
        require_open(access_of(learner, world))
        stored = (lesson.content_json if lesson else None) or {}
        if not stored.get("quiz"):
            raise NotFound("quiz: this lesson has none", code="no_quiz")
        return msgspec.convert(stored["quiz"], list[QuizQuestion])

    async def _reward(self, user_id: UUID, lesson_id: UUID) -> int:
        """Pay for the first pass and count the day of every pass; returns the XP paid."""
        payment = await self.ledger.pay(user_id, XpKind.QUIZ, lesson_id, QUIZ_XP, self.now)
        await self.activity.record(user_id, ActivityReason.QUIZ, self.now)
        return payment.amount


async def provide_quiz_service(
    session: NamedDependency[AsyncSession],
    transactions: NamedDependency[Transactions],
    limiter: NamedDependency[RateLimiter],
    now: NamedDependency[datetime],
) -> QuizService:
    return QuizService(session, transactions, limiter, now)
