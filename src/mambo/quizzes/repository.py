"""Questions about attempts at quizzes."""

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from mambo.database.repository import Repository
from mambo.quizzes.models import QuizAttempt


class AttemptRepository(Repository[QuizAttempt]):
    """Attempts, numbered from 1 for each learner and lesson."""

    model_type = QuizAttempt

    async def add_next(self, **attempt: object) -> int:
        """Store an attempt and answer its number; the learner's profile is locked, so that no two get the same."""
        last = sa.select(sa.func.coalesce(sa.func.max(QuizAttempt.number), 0)).where(
            QuizAttempt.user_id == attempt["user_id"], QuizAttempt.lesson_id == attempt["lesson_id"]
        )
        query = insert(QuizAttempt).values(number=last.scalar_subquery() + 1, **attempt).returning(QuizAttempt.number)
        return (await self.session.scalars(query)).one()
