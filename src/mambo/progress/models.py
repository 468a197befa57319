"""Completions of lessons."""

from datetime import datetime
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from mambo.database.base import Base


class LessonCompletion(Base):
    """A learner has completed a lesson. A lesson that somebody has completed cannot move to another world."""

    __tablename__ = "lesson_completion"
    __table_args__ = (
        sa.ForeignKeyConstraint(
            ["world_id", "lesson_id"],
            ["lesson.world_id", "lesson.id"],
            name="fk_lesson_completion_lesson",
            ondelete="CASCADE",
            info={"problem": "This lesson has just been deleted: go on with another one."},
        ),
        sa.Index("ix_lesson_completion_lesson_id", "lesson_id"),
        sa.Index("ix_lesson_completion_at", "completed_at"),
    )

    user_id: Mapped[UUID] = mapped_column(sa.ForeignKey("users.id", ondelete="CASCADE"), primary_key=True)
    world_id: Mapped[UUID] = mapped_column(primary_key=True)
    lesson_id: Mapped[UUID] = mapped_column(primary_key=True)
    completed_at: Mapped[datetime]
