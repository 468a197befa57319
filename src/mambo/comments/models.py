"""Comments."""

from datetime import datetime
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from mambo.database.base import Identified


class Comment(Identified):
    """What someone says about a lesson, or in reply to a comment on it.

    Removed, it loses its words and keeps its row, so that no reply can come to nothing. With its author's account gone
    it stays, as someone's. `key` is the author's own for it, by which it is said once however often it is sent.
    """

    __tablename__ = "comment"
    __table_args__ = (
        sa.ForeignKeyConstraint(
            ["lesson_id"],
            ["lesson.id"],
            ondelete="CASCADE",
            info={"problem": "This lesson was deleted at the same moment: nothing can be said about it any more."},
        ),
        sa.ForeignKeyConstraint(
            ["lesson_id", "parent_id"], ["comment.lesson_id", "comment.id"], name="fk_comment_parent"
        ),
        sa.UniqueConstraint("lesson_id", "id", name="uq_comment_lesson_id_id"),
        sa.UniqueConstraint("author_id", "key", name="uq_comment_key"),
        sa.Index("ix_comment_thread", "lesson_id", "parent_id", "id"),
        sa.CheckConstraint("char_length(body) BETWEEN 1 AND 2000", name="body_length"),
        sa.CheckConstraint("(body IS NULL) = (removed_at IS NOT NULL)", name="removed_without_body"),
    )

    lesson_id: Mapped[UUID]
    author_id: Mapped[UUID | None] = mapped_column(sa.ForeignKey("users.id", ondelete="SET NULL"))
    parent_id: Mapped[UUID | None]
    key: Mapped[UUID | None]
    body: Mapped[str | None]
    edited_at: Mapped[datetime | None]
    removed_at: Mapped[datetime | None]
