"""When a learner may submit a video, and how a submission looks, as pure functions."""

from datetime import datetime
from typing import Any
from uuid import UUID

from msgspec import Struct

from mambo.access.rules import access_of, require_open
from mambo.errors import Conflict, Invalid
from mambo.submissions.models import ALREADY_SUBMITTED, SubmissionStatus
from mambo.submissions.schemas import Grade, Learner, OwnSubmission, Place, QueuedSubmission
from mambo.videos.models import FAILED, VideoStatus
from mambo.videos.rules import VideoUpdate, state_of_upload
from mambo.web.principal import Principal


class Battle(Struct, frozen=True):
    """A lesson to submit a video for, with the state of the learner's pending or approved submission, if any."""

    is_published: bool
    is_free: bool
    is_boss_battle: bool
    submission_status: SubmissionStatus | None
    upload_status: VideoStatus | None


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


def require_battle(battle: Battle | None, learner: Principal) -> Battle:
    """Return the battle if the learner may submit a video for it, or upload one.

    Raises:
        NotFound, NotAllowed: the lesson is not open to the learner.
        Conflict: it is no boss battle, or the learner's submission is approved, or pending with a usable video.

    """
    require_open(access_of(learner, battle))
    if battle is None or not battle.is_boss_battle:
        raise Conflict("This lesson is no boss battle: complete it without a video.", code="not_a_boss_battle")
    if battle.submission_status is SubmissionStatus.APPROVED:
        raise Conflict("You have won this boss battle already: go on with the next lesson.", code="boss_battle_won")
    if battle.submission_status is SubmissionStatus.PENDING and battle.upload_status not in FAILED:
        raise Conflict(ALREADY_SUBMITTED)
    return battle


def require_feedback(grade: Grade) -> None:
    """Require that a rejection has feedback.

    Raises:
        Invalid: it has none.

    """
    if grade.status == "rejected" and not (grade.feedback_text or "").strip() and grade.feedback_video_url is None:
        raise Invalid.field("feedback_text", "or feedback_video_url must say what to work on", "missing")


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
        "lesson": Place(id=row.lesson_id, title=row.lesson_title),
        "world": Place(id=row.world_id, title=row.world_title),
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
