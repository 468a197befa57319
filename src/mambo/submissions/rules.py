"""When a learner may submit a video, and what a grade needs, as pure functions."""

import enum

from msgspec import Struct

from mambo.access.rules import Visitor, access_of, require_open
from mambo.errors import Conflict, Invalid
from mambo.videos.rules import FAILED, VideoStatus

ALREADY_SUBMITTED = "You have sent a video for this boss battle already: wait for the feedback on it."


class SubmissionStatus(enum.StrEnum):
    """The state of a submission; the last two are final."""

    PENDING = "pending"
    APPROVED = "approved"
    REJECTED = "rejected"


class Battle(Struct, frozen=True):
    """A lesson to submit a video for, with the state of the learner's pending or approved submission, if any."""

    is_published: bool
    is_free: bool
    is_boss_battle: bool
    submission_status: SubmissionStatus | None
    upload_status: VideoStatus | None


def require_battle(battle: Battle | None, learner: Visitor) -> Battle:
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


def require_feedback(status: str, text: str | None, video_url: str | None) -> None:
    """Require that a rejection has feedback.

    Raises:
        Invalid: it has none.

    """
    if status == SubmissionStatus.REJECTED and not (text or "").strip() and video_url is None:
        raise Invalid.field("feedback_text", "or feedback_video_url must say what to work on", "missing")
