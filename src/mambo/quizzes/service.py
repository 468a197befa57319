"""Grades attempts at quizzes."""

from datetime import datetime
from uuid import UUID

from litestar.di import NamedDependency
from sqlalchemy.ext.asyncio import AsyncSession

from mambo.access.rules import access_of, require_open
from mambo.courses.schemas import QuizQuestion
from mambo.database.pool import Pool
from mambo.errors import NotFound
from mambo.game.models import ActivityReason, XpKind
from mambo.game.repository import ActivityRepository, LedgerRepository
from mambo.game.rules import QUIZ_XP, level_of
from mambo.limits.rules import QUIZ
from mambo.limits.service import RateLimiter
from mambo.quizzes import rules
from mambo.quizzes.repository import AttemptRepository, QuizReadRepository
from mambo.quizzes.schemas import QuizResult
from mambo.users.repository import ProfileRepository
from mambo.web.principal import Principal
from mambo.web.schemas import to_json


class QuizService:
    """Grades attempts, and pays XP for the first that passes."""

    def __init__(
        self,
        quizzes: QuizReadRepository,
        attempts: AttemptRepository,
        profiles: ProfileRepository,
        ledger: LedgerRepository,
        activity: ActivityRepository,
        limiter: RateLimiter,
        now: datetime,
    ) -> None:
        self.quizzes, self.attempts, self.profiles = quizzes, attempts, profiles
        self.ledger, self.activity = ledger, activity
        self.limiter, self.now = limiter, now

    async def attempt(self, lesson_id: UUID, learner: Principal, answers: dict[str, int]) -> QuizResult:
        """Grade and store an attempt; of any number of concurrent passes only the first pays XP.

        Raises:
            NotFound, NotAllowed: the lesson is not open to the learner, or has no quiz.
            Invalid: an answer names no question, or none of its options.
            TooMany: the learner has tried this quiz too often; only valid attempts count.
            Conflict: the lesson is being deleted.

        """
        questions = await self._get_questions(lesson_id, learner)
        rules.require_valid_answers(questions, answers)
        # Before the session takes a connection, because the limiter may wait for one of the pool.
        await self.limiter.hit(QUIZ, f"{learner.user_id}:{lesson_id}")
        result = rules.grade(questions, answers)
        await self.profiles.lock(learner.user_id)
        number = await self.attempts.add_next(
            user_id=learner.user_id,
            lesson_id=lesson_id,
            score=result.score,
            passed=result.passed,
            answers=answers,
            quiz=to_json(questions),
            at=self.now,
        )
        paid = await self._reward(learner.user_id, lesson_id) if result.passed else 0
        standing = await self.ledger.get_standing(learner.user_id)
        return QuizResult(
            score=result.score,
            passed=result.passed,
            correct=result.correct,
            explanations={question.id: question.explanation or None for question in questions},
            attempt=number,
            xp_gained=paid,
            new_total_xp=standing.xp,
            leveled_up=standing.level > level_of(standing.xp - paid),
            new_level=standing.level,
            streak_count=standing.streak_at(self.now),
        )

    async def _get_questions(self, lesson_id: UUID, learner: Principal) -> list[QuizQuestion]:
        lesson = await self.quizzes.get(lesson_id)
        require_open(access_of(learner, lesson))
        questions = lesson.questions if lesson else []
        if not questions:
            raise NotFound("quiz: this lesson has none", code="no_quiz")
        return questions

    async def _reward(self, user_id: UUID, lesson_id: UUID) -> int:
        """Pay for the first pass, and count the day of every pass; return the XP paid."""
        payment = await self.ledger.pay(user_id, XpKind.QUIZ, lesson_id, QUIZ_XP, self.now)
        await self.activity.record(user_id, ActivityReason.QUIZ, self.now)
        return payment.amount


def provide_quiz_service(
    pool: NamedDependency[Pool],
    session: NamedDependency[AsyncSession],
    limiter: NamedDependency[RateLimiter],
    now: NamedDependency[datetime],
) -> QuizService:
    return QuizService(
        QuizReadRepository(pool),
        AttemptRepository(session),
        ProfileRepository(session),
        LedgerRepository(session),
        ActivityRepository(session),
        limiter,
        now,
    )
