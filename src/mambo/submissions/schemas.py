"""What goes in and out of boss battles."""

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from msgspec import Meta

from mambo.submissions.models import SubmissionStatus
from mambo.web.schemas import Input, Output, RequiredLine, Text, Url


class SubmissionRequest(Input):
    """A video for a boss battle: where on the web it is, or the `upload_id` of one that was uploaded here."""

    lesson_id: UUID
    video_url: Url | None = None
    upload_id: RequiredLine | None = None


class UploadRequest(Input):
    """A video of oneself to upload for a boss battle."""

    lesson_id: UUID
    filename: Annotated[RequiredLine, Meta(examples=["my shines.mp4"])] | None = None


class Grade(Input):
    """What staff thinks of a submission; a rejection says why, in words or in a video."""

    status: Literal["approved", "rejected"]
    feedback_text: Text | None = None
    feedback_video_url: Url | None = None


class SubmissionView(Output):
    """A submission; the `video_` fields beside the URL tell of a video that was uploaded here, and are null without."""

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
    """Who sent it."""

    id: UUID
    name: str
    avatar_url: str | None
    level: int


class Place(Output):
    """The lesson or the course it belongs to."""

    id: UUID
    title: str


class QueuedSubmission(SubmissionView):
    """A submission as staff sees it."""

    learner: Learner
    lesson: Place
    world: Place
    reviewer_name: str | None


class GradedSubmission(QueuedSubmission):
    """A submission that was just graded, and the XP its learner gained by that."""

    xp_gained: int
