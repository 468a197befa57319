"""Uploads of videos to Mux, and the events that Mux has sent."""

from datetime import datetime
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from mambo.database.base import Base, Identified, one_of
from mambo.videos.rules import VideoStatus


class VideoUpload(Identified):
    """The upload of one video from a browser to Mux; its id is the passthrough of Mux's events.

    It is for the lesson `lesson_id`, or a learner's own for the boss battle `boss_lesson_id`, or for no lesson yet.
    When a row is deleted, a trigger schedules the deletion of its video at Mux, unless the video was deleted there, or
    has become its lesson's video.
    """

    __tablename__ = "video_upload"
    __table_args__ = (
        sa.Index(
            "uq_video_upload_live_lesson",
            "lesson_id",
            unique=True,
            postgresql_where=sa.text("status IN ('waiting', 'asset_created', 'preparing')"),
            info={"problem": "Another upload for this lesson was started at the same moment: check its status."},
        ),
        sa.CheckConstraint("num_nonnulls(lesson_id, boss_lesson_id) <= 1", name="one_purpose"),
        sa.Index("ix_video_upload_lesson_id", "lesson_id"),
        sa.Index("ix_video_upload_boss_lesson_id", "boss_lesson_id", "created_by"),
        sa.Index("ix_video_upload_created_by", "created_by"),
        sa.Index(
            "ix_video_upload_unfinished",
            "updated_at",
            postgresql_where=sa.text("status IN ('waiting', 'asset_created', 'preparing')"),
        ),
        sa.Index("ix_video_upload_unused_until", "unused_until", postgresql_where=sa.text("unused_until IS NOT NULL")),
    )

    lesson_id: Mapped[UUID | None] = mapped_column(sa.ForeignKey("lesson.id", ondelete="CASCADE"))
    boss_lesson_id: Mapped[UUID | None] = mapped_column(sa.ForeignKey("lesson.id", ondelete="CASCADE"))
    created_by: Mapped[UUID | None] = mapped_column(sa.ForeignKey("users.id", ondelete="SET NULL"))
    filename: Mapped[str | None]
    status: Mapped[VideoStatus] = mapped_column(one_of(VideoStatus), default=VideoStatus.WAITING)
    mux_upload_id: Mapped[str] = mapped_column(unique=True)
    asset_id: Mapped[str | None] = mapped_column(unique=True)
    playback_id: Mapped[str | None]
    duration_seconds: Mapped[float | None]
    error: Mapped[str | None]
    updated_at: Mapped[datetime]
    expires_at: Mapped[datetime]
    # When a learner's video is deleted if it is not submitted; null for a submitted one, and for all other videos.
    unused_until: Mapped[datetime | None]


class WebhookEvent(Base):
    """An event as Mux sent it, kept for 30 days; `is_applied` is false while its upload is not known."""

    __tablename__ = "mux_event"
    __table_args__ = (
        sa.Index("ix_mux_event_received_at", "received_at"),
        sa.Index("ix_mux_event_unapplied", "asset_id", "upload_id", postgresql_where=sa.text("NOT is_applied")),
    )

    id: Mapped[str] = mapped_column(primary_key=True)
    type: Mapped[str]
    upload_id: Mapped[str | None]
    asset_id: Mapped[str | None]
    is_applied: Mapped[bool]
    body: Mapped[bytes]
    received_at: Mapped[datetime]
