"""Attempts at quizzes."""

from datetime import datetime
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column
from uuid_utils.compat import uuid7

from mambo.database.base import Base


class QuizAttempt(Base):
    """A learner's attempt at the quiz of a lesson; `quiz` is a copy of the questions at that moment."""

    __tablename__ = "quiz_attempt"
    __table_args__ = (
        sa.ForeignKeyConstraint(
            ["lesson_id"],
            ["lesson.id"],
            name="fk_quiz_attempt_lesson_id_lesson",
            ondelete="CASCADE",
            info={"problem": "This lesson was deleted a moment ago: choose another."},
        ),
        sa.UniqueConstraint("user_id", "lesson_id", "number", name="uq_quiz_attempt_number"),
        sa.CheckConstraint("number >= 1", name="number_positive"),
        sa.CheckConstraint("score BETWEEN 0 AND 100", name="score_in_percent"),
        sa.Index("ix_quiz_attempt_lesson_id", "lesson_id"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid7)
    user_id: Mapped[UUID] = mapped_column(sa.ForeignKey("users.id", ondelete="CASCADE"))
    lesson_id: Mapped[UUID]
    number: Mapped[int]
    score: Mapped[int]
    passed: Mapped[bool]
    answers: Mapped[dict[str, Any]]
    quiz: Mapped[list[Any]] = mapped_column(JSONB)
    at: Mapped[datetime]
