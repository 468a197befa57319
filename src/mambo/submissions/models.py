"""Submissions to boss battles."""

from datetime import datetime
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column
from uuid_utils.compat import uuid7

from mambo.database.base import Base, one_of
from mambo.submissions.rules import ALREADY_SUBMITTED, SubmissionStatus

CURRENT = (SubmissionStatus.PENDING, SubmissionStatus.APPROVED)


class Submission(Base):
    """A learner's video for a boss battle: a URL, or an upload; ids are in order of age.

    A trigger deletes the upload together with the submission.
    """

    __tablename__ = "submission"
    __table_args__ = (
        sa.Index(
            "uq_submission_current",
            "user_id",
            "lesson_id",
            unique=True,
            postgresql_where=sa.text("status IN ('pending', 'approved')"),
            info={"problem": ALREADY_SUBMITTED},
        ),
        sa.CheckConstraint("num_nonnulls(video_url, video_upload_id) = 1", name="one_video"),
        sa.CheckConstraint("(status = 'pending') = (reviewed_at IS NULL)", name="reviewed_once_graded"),
        sa.Index("ix_submission_status", "status", "id"),
        sa.Index("ix_submission_user_id", "user_id", "id"),
        sa.Index("ix_submission_lesson_id", "lesson_id", "id"),
        sa.Index("ix_submission_reviewer_id", "reviewer_id"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid7)
    user_id: Mapped[UUID] = mapped_column(sa.ForeignKey("users.id", ondelete="CASCADE"))
    lesson_id: Mapped[UUID] = mapped_column(sa.ForeignKey("lesson.id", ondelete="CASCADE"))
    status: Mapped[SubmissionStatus] = mapped_column(one_of(SubmissionStatus), default=SubmissionStatus.PENDING)
    video_url: Mapped[str | None]
    # No ON DELETE: an upload cannot be deleted while it is submitted; both are deleted together with their lesson.
    video_upload_id: Mapped[UUID | None] = mapped_column(sa.ForeignKey("video_upload.id"), unique=True)
    feedback_text: Mapped[str | None]
    feedback_video_url: Mapped[str | None]
    reviewer_id: Mapped[UUID | None] = mapped_column(sa.ForeignKey("users.id", ondelete="SET NULL"))
    submitted_at: Mapped[datetime]
    reviewed_at: Mapped[datetime | None]
