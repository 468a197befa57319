"""Bodies of requests and responses about boss battles."""

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from msgspec import Meta, Struct

from mambo.submissions.rules import SubmissionStatus
from mambo.videos.rules import VideoStatus, VideoUpdate, state_of_upload
from mambo.web.schemas import Input, Output, RequiredLine, Text, Url


class SubmissionRequest(Input):
    """A video for a boss battle: its URL, or the `upload_id` of a video that was uploaded here."""

    lesson_id: UUID
    video_url: Url | None = None
    upload_id: RequiredLine | None = None


class UploadRequest(Input):
    """A video to upload for a boss battle."""

    lesson_id: UUID
    filename: Annotated[RequiredLine, Meta(examples=["my shines.mp4"])] | None = None


class Grade(Input):
    """A grade for a submission; a rejection needs feedback, as a text or a video."""

    status: Literal["approved", "rejected"]
    feedback_text: Text | None = None
    feedback_video_url: Url | None = None


class SubmissionView(Output):
    """A submission; the `video_` fields except the URL, and `mux_playback_id`, are null unless it has an upload."""

    id: UUID
    lesson_id: UUID
    status: SubmissionStatus
    video_url: str | None
    video_status: Literal["ready", "processing", "waiting", "error", "none"] | None
    video_message: str | None
    mux_playback_id: str | None
    feedback: str | None
    feedback_video_url: str | None
    submitted_at: datetime
    reviewed_at: datetime | None


class OwnSubmission(SubmissionView):
    """A submission as its learner sees it."""

    lesson_title: str


class Learner(Output):
    """The learner who submitted it."""

    id: UUID
    name: str
    avatar_url: str | None
    level: int


class Reference(Output):
    """The lesson or the course of a submission."""

    id: UUID
    title: str


class QueuedSubmission(SubmissionView):
    """A submission as staff sees it."""

    learner: Learner
    lesson: Reference
    world: Reference
    reviewer_name: str | None


class GradedSubmission(QueuedSubmission):
    """A submission after grading, with the XP that its learner gained."""

    xp_gained: int


# Building them from stored rows


class SubmissionRow(Struct, frozen=True):
    """A stored submission; the upload's columns are null when the video was not uploaded here."""

    id: UUID
    lesson_id: UUID
    status: SubmissionStatus
    video_url: str | None
    feedback_text: str | None
    feedback_video_url: str | None
    submitted_at: datetime
    reviewed_at: datetime | None
    upload_status: VideoStatus | None
    upload_error: str | None
    playback_id: str | None
    lesson_title: str


class QueueRow(SubmissionRow, frozen=True):
    """A stored submission with its learner, course and reviewer."""

    user_id: UUID
    learner_name: str
    avatar_url: str | None
    level: int
    world_id: UUID
    world_title: str
    reviewer_name: str | None


def to_own(row: SubmissionRow) -> OwnSubmission:
    """Return the submission as its learner sees it."""
    return OwnSubmission(**fields_of(row), lesson_title=row.lesson_title)


def to_queued(row: QueueRow) -> QueuedSubmission:
    """Return the submission as staff sees it."""
    return QueuedSubmission(**queued_fields_of(row))


def queued_fields_of(row: QueueRow) -> dict[str, Any]:
    """Return the fields of a `QueuedSubmission`."""
    return fields_of(row) | {
        "learner": Learner(id=row.user_id, name=row.learner_name, avatar_url=row.avatar_url, level=row.level),
        "lesson": Reference(id=row.lesson_id, title=row.lesson_title),
        "world": Reference(id=row.world_id, title=row.world_title),
        "reviewer_name": row.reviewer_name,
    }


def fields_of(row: SubmissionRow) -> dict[str, Any]:
    """Return the fields of a `SubmissionView`."""
    video = None
    if row.upload_status is not None:
        video = state_of_upload(VideoUpdate(row.upload_status, playback_id=row.playback_id, error=row.upload_error))
    return {
        "id": row.id,
        "lesson_id": row.lesson_id,
        "status": row.status,
        "video_url": row.video_url,
        "video_status": video.status if video else None,
        "video_message": video.message if video else None,
        "mux_playback_id": video.playback_id if video else None,
        "feedback": row.feedback_text,
        "feedback_video_url": row.feedback_video_url,
        "submitted_at": row.submitted_at,
        "reviewed_at": row.reviewed_at,
    }
