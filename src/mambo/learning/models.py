"""What a learner has completed."""

from datetime import datetime
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from mambo.db import Base


class LessonCompletion(Base):
    """A learner has completed a lesson, once."""

    __tablename__ = "lesson_completion"
    __table_args__ = (
        sa.Index("ix_lesson_completion_lesson_id", "lesson_id"),
        sa.Index("ix_lesson_completion_at", "completed_at"),
    )

    user_id: Mapped[UUID] = mapped_column(sa.ForeignKey("users.id", ondelete="CASCADE"), primary_key=True)
    lesson_id: Mapped[UUID] = mapped_column(sa.ForeignKey("lesson.id", ondelete="CASCADE"), primary_key=True)
    completed_at: Mapped[datetime]
