"""Sending videos for boss battles, and grading them.

Locks are taken in the order lesson, learner's profile, submission, upload.
"""

from datetime import datetime
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from litestar.di import NamedDependency
from sqlalchemy.ext.asyncio import AsyncSession

from mambo.access.rules import access_of, require_open
from mambo.errors import Conflict, Invalid, NotAllowed, NotFound
from mambo.game.models import ActivityReason, XpKind
from mambo.game.repository import ActivityRepository, LedgerRepository
from mambo.progress.repository import CompletionRepository
from mambo.submissions.models import SENT_ALREADY, Submission, SubmissionStatus
from mambo.submissions.repository import SubmissionFilter, SubmissionRepository
from mambo.submissions.schemas import (
    Grade,
    GradedSubmission,
    Learner,
    OwnSubmission,
    Place,
    QueuedSubmission,
    SubmissionRequest,
    UploadRequest,
)
from mambo.users.repository import ProfileRepository
from mambo.videos.models import FAILED, VideoUpload
from mambo.videos.repository import VideoRepository
from mambo.videos.rules import state_of_upload
from mambo.videos.schemas import StartedUpload
from mambo.videos.service import VideoService
from mambo.web.principal import Principal
from mambo.web.schemas import Page


class SubmissionService:
    """A learner's submissions, and what staff does with everyone's."""

    def __init__(self, session: AsyncSession, now: datetime) -> None:
        self.session, self.now = session, now
        self.submissions = SubmissionRepository(session)
        self.videos = VideoRepository(session)
        self.catalogue = CompletionRepository(session)
        self.activity = ActivityRepository(session)
        self.ledger = LedgerRepository(session)
        self.profiles = ProfileRepository(session)

    async def submit(self, data: SubmissionRequest, learner: Principal) -> OwnSubmission:
        """Send a video for a boss battle; a pending one whose video came to nothing makes way for it.

        Raises:
            NotFound, NotAllowed: the learner may not open the lesson; or there is no such upload of theirs.
            Conflict: it is no boss battle, or won, or another video waits for feedback, or this one is of no use.
            Invalid: there is no video, or two.

        """
        if (data.video_url is None) is (data.upload_id is None):
            raise Invalid.field("video_url", "is required, or upload_id, and not both")
        battle = await require_battle(self.session, data.lesson_id, learner)
        await self.activity.record(learner.user_id, ActivityReason.BOSS, self.now)
        if battle.Submission is not None:
            await self.submissions.withdraw_failed(learner.user_id, data.lesson_id)
        upload = await self._use_upload(data.upload_id, data.lesson_id, learner) if data.upload_id else None
        submission = Submission(
            user_id=learner.user_id,
            lesson_id=data.lesson_id,
            video_url=data.video_url,
            video_upload_id=upload.id if upload else None,
            submitted_at=self.now,
        )
        await self.submissions.add(submission)
        return to_own(submission, battle.Lesson.title, upload)

    async def _use_upload(self, mux_upload_id: str, lesson_id: UUID, learner: Principal) -> VideoUpload:
        upload = await self.videos.lock_own(mux_upload_id, learner.user_id, lesson_id)
        if upload is None:
            raise NotFound("upload")
        if upload.unused_until is None:
            raise Conflict("You have submitted this video before: upload another one.", code="video_used")
        if upload.status in FAILED:
            raise Conflict(f"{state_of_upload(upload).message} Upload another one.", code="video_failed")
        upload.unused_until = None
        return upload

    async def get_own(self, learner: Principal) -> list[OwnSubmission]:
        return [to_own(*row) for row in await self.submissions.get_own(learner.user_id)]

    async def get_queue(self, wanted: SubmissionFilter, *, limit: int, cursor: UUID | None) -> Page[QueuedSubmission]:
        found = await self.submissions.get_queue(wanted, limit=limit + 1, cursor=cursor)
        items = [QueuedSubmission(**queued(row)) for row in found[:limit]]
        return Page(items=items, next_cursor=str(items[-1].id) if len(found) > limit else None)

    async def grade(self, submission_id: UUID, data: Grade, grader: Principal) -> GradedSubmission:
        """Grade a pending submission, once; approving it completes the lesson and pays its XP.

        Raises:
            NotFound: there is no such submission.
            NotAllowed: it is the grader's own.
            Conflict: it was graded before.
            Invalid: a rejection says nothing.

        """
        if data.status == "rejected" and not (data.feedback_text or "").strip() and data.feedback_video_url is None:
            raise Invalid.field("feedback_text", "or feedback_video_url must say what to work on", "missing")
        battle = await self.submissions.get_battle_of(submission_id)
        if battle is None:
            raise NotFound("submission")
        user_id, lesson_id, xp_value = battle
        if user_id == grader.user_id:
            raise NotAllowed("Nobody grades their own submission: ask someone else of the staff.")
        await self.profiles.lock(user_id)
        values = {
            "status": SubmissionStatus(data.status),
            "feedback_text": data.feedback_text,
            "feedback_video_url": data.feedback_video_url,
            "reviewer_id": grader.user_id,
            "reviewed_at": self.now,
        }
        if not await self.submissions.grade(submission_id, values):
            raise Conflict("This submission was graded or replaced already: reload the list.", code="graded_already")
        paid = 0
        if data.status == "approved":
            await self.catalogue.complete(user_id, lesson_id, self.now)
            paid = (await self.ledger.pay(user_id, XpKind.BOSS, lesson_id, xp_value, self.now)).amount
        return GradedSubmission(**queued(await self.submissions.get_queued(submission_id)), xp_gained=paid)


async def begin_upload(
    videos: VideoService, data: UploadRequest, learner: Principal, cors_origin: str
) -> StartedUpload:
    """Begin an upload of a learner's video for a boss battle; their earlier one, if unfinished, is given up.

    Raises:
        NotFound, NotAllowed: the learner may not open the lesson.
        Conflict: it is no boss battle, or won, or another video waits for feedback.
        DependencyFailed, DependencyTimedOut, Unavailable: Mux did not take it; everything is as before.

    """

    async def require(session: AsyncSession) -> None:
        await require_battle(session, data.lesson_id, learner)
        await ProfileRepository(session).lock(learner.user_id)

    upload = VideoUpload(boss_lesson_id=data.lesson_id, created_by=learner.user_id, filename=data.filename)
    return await videos.begin(upload, cors_origin, require)


async def require_battle(session: AsyncSession, lesson_id: UUID, learner: Principal) -> sa.Row[*tuple[Any, ...]]:
    """The boss battle for which the learner may send a video.

    Raises:
        NotFound, NotAllowed: the learner may not open the lesson.
        Conflict: it is no boss battle, or won, or another video waits for feedback.

    """
    battle = await SubmissionRepository(session).get_battle(lesson_id, learner.user_id)
    require_open(access_of(learner, battle.World if battle else None))
    if battle is None or not battle.Lesson.is_boss_battle:
        raise Conflict("This lesson is no boss battle: complete it without a video.", code="not_a_boss_battle")
    submission, upload = battle.Submission, battle.VideoUpload
    if submission is not None and submission.status is SubmissionStatus.APPROVED:
        raise Conflict("You have won this boss battle already: go on with the next lesson.", code="boss_battle_won")
    if submission is not None and not (upload and upload.status in FAILED):
        raise Conflict(SENT_ALREADY)
    return battle


def to_own(submission: Submission, lesson_title: str, upload: VideoUpload | None) -> OwnSubmission:
    return OwnSubmission(**shown(submission, upload), lesson_title=lesson_title)


def queued(row: sa.Row[*tuple[Any, ...]]) -> dict[str, Any]:
    """The fields of a `QueuedSubmission`."""
    submission = row.Submission
    return shown(submission, row.VideoUpload) | {
        "learner": Learner(id=submission.user_id, name=row.learner_name, avatar_url=row.avatar_url, level=row.level),
        "lesson": Place(id=submission.lesson_id, title=row.lesson_title),
        "world": Place(id=row.world_id, title=row.world_title),
        "reviewer_name": row.reviewer_name,
    }


def shown(submission: Submission, upload: VideoUpload | None) -> dict[str, Any]:
    """The fields of a `SubmissionView`."""
    video = state_of_upload(upload) if upload else None
    return {
        "id": submission.id,
        "lesson_id": submission.lesson_id,
        "status": submission.status,
        "video_url": submission.video_url,
        "video_status": video.status if video else None,
        "video_message": video.message if video else None,
        "mux_playback_id": video.playback_id if video else None,
        "feedback": submission.feedback_text,
        "feedback_video_url": submission.feedback_video_url,
        "submitted_at": submission.submitted_at,
        "reviewed_at": submission.reviewed_at,
    }


async def provide_submission_service(
    session: NamedDependency[AsyncSession], now: NamedDependency[datetime]
) -> SubmissionService:
    return SubmissionService(session, now)
