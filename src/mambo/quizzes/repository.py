"""Queries on quizzes and attempts."""

from uuid import UUID

import msgspec
import sqlalchemy as sa
from msgspec import Struct
from sqlalchemy.dialects.postgresql import insert

from mambo.courses.models import Lesson, World
from mambo.courses.schemas import QuizQuestion
from mambo.database.repository import Query, ReadRepository, Repository
from mambo.database.statements import param
from mambo.quizzes.models import QuizAttempt


class LessonQuiz(Struct, frozen=True):
    """The quiz of a lesson as JSON, and what decides about access to it."""

    is_published: bool
    is_free: bool
    quiz: str | None

    @property
    def questions(self) -> list[QuizQuestion]:
        return msgspec.json.decode(self.quiz, type=list[QuizQuestion]) if self.quiz else []


LESSON_QUIZ = Query(
    sa.select(World.is_published, World.is_free, Lesson.content_json["quiz"].label("quiz"))
    .join(World, World.id == Lesson.world_id)
    .where(Lesson.id == param("lesson_id", sa.Uuid())),
    LessonQuiz,
)


class QuizReadRepository(ReadRepository):
    """Reads quizzes."""

    async def get(self, lesson_id: UUID) -> LessonQuiz | None:
        """Return the quiz of a lesson; None when there is no such lesson."""
        return await self._one(LESSON_QUIZ, lesson_id=lesson_id)


class AttemptRepository(Repository[QuizAttempt]):
    """Attempts, numbered from 1 for each learner and lesson."""

    model_type = QuizAttempt

    async def add_next(self, **attempt: object) -> int:
        """Store an attempt and return its number.

        The caller locks the learner's profile, so that no two attempts get the same number.
        """
        last = sa.select(sa.func.coalesce(sa.func.max(QuizAttempt.number), 0)).where(
            QuizAttempt.user_id == attempt["user_id"], QuizAttempt.lesson_id == attempt["lesson_id"]
        )
        query = insert(QuizAttempt).values(number=last.scalar_subquery() + 1, **attempt).returning(QuizAttempt.number)
        return (await self.session.scalars(query)).one()
