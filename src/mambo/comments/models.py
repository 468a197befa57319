"""Comments on lessons."""

from datetime import datetime
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from mambo.database.base import Identified


class Comment(Identified):
    """A comment on a lesson, or a reply to one.

    A removed comment loses its text and keeps its row, because replies refer to it. It stays without an author when the
    account is deleted. `key` is chosen by the client: a request that is sent again creates no second comment.
    """

    __tablename__ = "comment"
    __table_args__ = (
        sa.ForeignKeyConstraint(
            ["lesson_id"],
            ["lesson.id"],
            ondelete="CASCADE",
            info={"problem": "This lesson was deleted a moment ago: comments on it are not possible any more."},
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
