"""Videos on their way to Mux, the events it sent, and what is to be deleted from Mux and from picture storage."""

import enum
from datetime import datetime
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from mambo.database.base import Base, Identified, one_of


class VideoStatus(enum.StrEnum):
    """How far a video has come, in order of rank: a video only moves on to a later one (`rules.merged`)."""

    WAITING = "waiting"
    TIMED_OUT = "timed_out"
    CANCELLED = "cancelled"
    ASSET_CREATED = "asset_created"
    PREPARING = "preparing"
    ERRORED = "errored"
    READY = "ready"
    DELETED = "deleted"


LIVE = (VideoStatus.WAITING, VideoStatus.ASSET_CREATED, VideoStatus.PREPARING)
FINAL = (VideoStatus.READY, VideoStatus.DELETED)
FAILED = (VideoStatus.TIMED_OUT, VideoStatus.CANCELLED, VideoStatus.ERRORED, VideoStatus.DELETED)


class VideoUpload(Identified):
    """One video's way from a browser to Mux; its id is the passthrough that Mux's events carry.

    It is for the lesson `lesson_id`, or a learner's own for the boss battle `boss_lesson_id`, or for nothing yet.
    A trigger notes an upload that goes for deletion at Mux, unless it was deleted there, or became its lesson's video.
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
        sa.Index("ix_video_upload_ask_at", "ask_at", postgresql_where=sa.text("ask_at IS NOT NULL")),
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
    # When to ask Mux how it stands, should no event have told; null once there is nothing left to ask.
    ask_at: Mapped[datetime | None]
    # When a learner's video goes, unless it is submitted by then; null once it is, and for all others.
    unused_until: Mapped[datetime | None]


class WebhookEvent(Base):
    """An event as Mux sent it, kept for 30 days; `is_applied` is false while no upload of ours fits it."""

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
