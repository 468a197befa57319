"""Bodies of requests and responses about boss battles."""

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from msgspec import Meta

from mambo.submissions.models import SubmissionStatus
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


class Place(Output):
    """The lesson or the course of a submission."""

    id: UUID
    title: str


class QueuedSubmission(SubmissionView):
    """A submission as staff sees it."""

    learner: Learner
    lesson: Place
    world: Place
    reviewer_name: str | None


class GradedSubmission(QueuedSubmission):
    """A submission after grading, with the XP that its learner gained."""

    xp_gained: int
