"""Submits videos for boss battles, and grades them.

Locks are taken in the order lesson, learner's profile, submission, upload.
"""

from datetime import datetime
from uuid import UUID

from litestar.di import NamedDependency
from sqlalchemy.ext.asyncio import AsyncSession

from mambo.errors import Conflict, Invalid, NotAllowed, NotFound
from mambo.game.models import ActivityReason, XpKind
from mambo.game.repository import ActivityRepository, LedgerRepository
from mambo.progress.events import WorldCompletedHandlers
from mambo.progress.repository import CompletionRepository
from mambo.progress.service import CompletionService
from mambo.submissions import rules
from mambo.submissions.models import Submission
from mambo.submissions.repository import SubmissionRepository
from mambo.submissions.schemas import (
    Grade,
    GradedSubmission,
    OwnSubmission,
    SubmissionRequest,
    UploadRequest,
    queued_fields_of,
    to_own,
)
from mambo.users.repository import ProfileRepository
from mambo.videos.models import VideoUpload
from mambo.videos.repository import VideoRepository
from mambo.videos.rules import FAILED, VideoUpdate, state_of_upload
from mambo.videos.schemas import StartedUpload
from mambo.videos.service import VideoService
from mambo.web.principal import Principal
from mambo.web.schemas import as_struct


class SubmissionService:
    """Submits videos for boss battles."""

    def __init__(
        self,
        submissions: SubmissionRepository,
        uploads: VideoRepository,
        activity: ActivityRepository,
        now: datetime,
    ) -> None:
        self.submissions, self.uploads, self.activity, self.now = submissions, uploads, activity, now

    async def submit(self, data: SubmissionRequest, learner: Principal) -> OwnSubmission:
        """Submit a video; it replaces a pending submission whose video failed.

        Raises:
            NotFound, NotAllowed: the lesson is not open to the learner, or the upload is not theirs for this lesson.
            Conflict: there is nothing to submit for, or the upload is used or failed.
            Invalid: there is no video, or there are two.

        """
        if (data.video_url is None) is (data.upload_id is None):
            raise Invalid.field("video_url", "is required, or upload_id, and not both")
        battle = rules.require_battle(await self.submissions.get_battle(data.lesson_id, learner.user_id), learner)
        await self.activity.record(learner.user_id, ActivityReason.BOSS, self.now)
        if battle.submission_status is not None:
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
        return to_own(await self.submissions.get_row(submission.id))

    async def _use_upload(self, mux_upload_id: str, lesson_id: UUID, learner: Principal) -> VideoUpload:
        upload = await self.uploads.lock_own(mux_upload_id, learner.user_id, lesson_id)
        if upload is None:
            raise NotFound("upload")
        if upload.unused_until is None:
            raise Conflict("You have submitted this video before: upload another one.", code="video_used")
        if upload.status in FAILED:
            message = state_of_upload(as_struct(upload, VideoUpdate)).message
            raise Conflict(f"{message} Upload another one.", code="video_failed")
        upload.unused_until = None
        return upload


class GradingService:
    """Grades submissions."""

    def __init__(
        self,
        submissions: SubmissionRepository,
        profiles: ProfileRepository,
        completions: CompletionService,
        ledger: LedgerRepository,
        now: datetime,
    ) -> None:
        self.submissions, self.profiles, self.completions, self.ledger = submissions, profiles, completions, ledger
        self.now = now

    async def grade(self, submission_id: UUID, data: Grade, grader: Principal) -> GradedSubmission:
        """Grade a pending submission, once; an approval completes the lesson and pays its XP.

        Raises:
            NotFound: there is no such submission.
            NotAllowed: it is the grader's own.
            Conflict: it is not pending.
            Invalid: it is a rejection without feedback.

        """
        rules.require_feedback(data.status, data.feedback_text, data.feedback_video_url)
        reward = await self.submissions.get_reward(submission_id)
        if reward.user_id == grader.user_id:
            raise NotAllowed("Nobody grades their own submission: ask someone else of the staff.")
        await self.profiles.lock(reward.user_id)
        values = {
            "status": rules.SubmissionStatus(data.status),
            "feedback_text": data.feedback_text,
            "feedback_video_url": data.feedback_video_url,
            "reviewer_id": grader.user_id,
            "reviewed_at": self.now,
        }
        if not await self.submissions.grade(submission_id, values):
            raise Conflict("This submission was graded or replaced already: reload the list.", code="graded_already")
        paid = 0
        if data.status == "approved":
            payment = await self.ledger.pay(reward.user_id, XpKind.BOSS, reward.lesson_id, reward.xp, self.now)
            paid = payment.amount
            await self.completions.complete_boss_battle(reward.user_id, reward.lesson_id, self.now)
        row = await self.submissions.get_queue_row(submission_id)
        return GradedSubmission(**queued_fields_of(row), xp_gained=paid)


class SubmissionUploadService:
    """Starts uploads of learners' videos."""

    def __init__(self, videos: VideoService) -> None:
        self.videos = videos

    async def begin(self, data: UploadRequest, learner: Principal, cors_origin: str) -> StartedUpload:
        """Start an upload for a boss battle; it replaces the learner's unfinished one.

        Raises:
            NotFound, NotAllowed: the lesson is not open to the learner.
            Conflict: there is nothing to submit for.
            DependencyFailed, DependencyTimedOut, Unavailable: Mux did not accept it; nothing has changed.

        """

        async def require(session: AsyncSession) -> None:
            submissions = SubmissionRepository(session)
            rules.require_battle(await submissions.get_battle(data.lesson_id, learner.user_id), learner)
            await ProfileRepository(session).lock(learner.user_id)

        upload = VideoUpload(boss_lesson_id=data.lesson_id, created_by=learner.user_id, filename=data.filename)
        return await self.videos.begin(upload, cors_origin, require)


def provide_submission_service(
    session: NamedDependency[AsyncSession], now: NamedDependency[datetime]
) -> SubmissionService:
    return SubmissionService(SubmissionRepository(session), VideoRepository(session), ActivityRepository(session), now)


def provide_grading_service(
    session: NamedDependency[AsyncSession],
    on_world_completed: NamedDependency[WorldCompletedHandlers],
    now: NamedDependency[datetime],
) -> GradingService:
    return GradingService(
        SubmissionRepository(session),
        ProfileRepository(session),
        CompletionService(CompletionRepository(session), on_world_completed),
        LedgerRepository(session),
        now,
    )


def provide_submission_upload_service(videos: NamedDependency[VideoService]) -> SubmissionUploadService:
    return SubmissionUploadService(videos)
