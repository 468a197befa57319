"""Questions about submissions to boss battles."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from msgspec import Struct

from mambo.courses.models import Lesson, World
from mambo.database.repository import Repository
from mambo.submissions.models import CURRENT, Submission, SubmissionStatus
from mambo.users.models import User, UserProfile
from mambo.videos.models import FAILED, VideoUpload

MOST_SHOWN = 100
LEARNER_NAME = User.first_name + " " + User.last_name
Reviewer = sa.orm.aliased(User)
QUEUE = (
    sa.select(
        Submission,
        VideoUpload,
        LEARNER_NAME.label("learner_name"),
        UserProfile.avatar_url,
        UserProfile.level,
        Lesson.title.label("lesson_title"),
        World.id.label("world_id"),
        World.title.label("world_title"),
        (Reviewer.first_name + " " + Reviewer.last_name).label("reviewer_name"),
    )
    .join(User, User.id == Submission.user_id)
    .join(UserProfile, UserProfile.user_id == User.id)
    .join(Lesson, Lesson.id == Submission.lesson_id)
    .join(World, World.id == Lesson.world_id)
    .outerjoin(Reviewer, Reviewer.id == Submission.reviewer_id)
    .outerjoin(VideoUpload, VideoUpload.id == Submission.video_upload_id)
)


class SubmissionFilter(Struct, frozen=True):
    """Which submissions are asked for; None leaves it open."""

    status: SubmissionStatus | None
    lesson_id: UUID | None
    world_id: UUID | None
    user_id: UUID | None
    search: str | None


class SubmissionRepository(Repository[Submission]):
    """Submissions."""

    model_type = Submission

    async def get_battle(self, lesson_id: UUID, user_id: UUID) -> sa.Row[*tuple[Any, ...]] | None:
        """The lesson and its course; beside them the learner's submission that is pending or won, and its upload.

        Nobody deletes the lesson until this transaction ends.
        """
        own = sa.and_(Submission.lesson_id == Lesson.id, Submission.user_id == user_id, Submission.status.in_(CURRENT))
        query = (
            sa.select(Lesson, World, Submission, VideoUpload)
            .join(World, World.id == Lesson.world_id)
            .outerjoin(Submission, own)
            .outerjoin(VideoUpload, VideoUpload.id == Submission.video_upload_id)
            .where(Lesson.id == lesson_id)
            .with_for_update(read=True, key_share=True, of=Lesson)
        )
        return (await self.session.execute(query)).one_or_none()

    async def withdraw_failed(self, user_id: UUID, lesson_id: UUID) -> None:
        """Delete the learner's pending submission if its video came to nothing."""
        failed = sa.select(VideoUpload.id).where(VideoUpload.status.in_(FAILED))
        query = sa.delete(Submission).where(
            Submission.user_id == user_id,
            Submission.lesson_id == lesson_id,
            Submission.status == SubmissionStatus.PENDING,
            Submission.video_upload_id.in_(failed),
        )
        await self.session.execute(query, execution_options={"synchronize_session": False})

    async def get_own(self, user_id: UUID) -> Sequence[sa.Row[Submission, str, VideoUpload | None]]:
        """The learner's newest hundred, each with its lesson's title and its upload."""
        query = (
            sa.select(Submission, Lesson.title, VideoUpload)
            .join(Lesson, Lesson.id == Submission.lesson_id)
            .outerjoin(VideoUpload, VideoUpload.id == Submission.video_upload_id)
            .where(Submission.user_id == user_id)
            .order_by(Submission.id.desc())
            .limit(MOST_SHOWN)
        )
        return (await self.session.execute(query)).all()

    async def get_queue(
        self, wanted: SubmissionFilter, *, limit: int, cursor: UUID | None
    ) -> Sequence[sa.Row[*tuple[Any, ...]]]:
        """What is pending, the oldest first; any other list the newest first."""
        is_queue = wanted.status is SubmissionStatus.PENDING
        query = QUEUE.order_by(Submission.id if is_queue else Submission.id.desc()).limit(limit)
        columns = {
            Submission.status: wanted.status,
            Submission.lesson_id: wanted.lesson_id,
            Lesson.world_id: wanted.world_id,
            Submission.user_id: wanted.user_id,
        }
        query = query.where(*(column == value for column, value in columns.items() if value is not None))
        if wanted.search and (words := wanted.search.strip()):
            query = query.where(LEARNER_NAME.icontains(words, autoescape=True))
        if cursor is not None:
            query = query.where(Submission.id > cursor if is_queue else Submission.id < cursor)
        return (await self.session.execute(query)).all()

    async def get_queued(self, submission_id: UUID) -> sa.Row[*tuple[Any, ...]]:
        return (await self.session.execute(QUEUE.where(Submission.id == submission_id))).one()

    async def get_battle_of(self, submission_id: UUID) -> sa.Row[UUID, UUID, int] | None:
        """A submission's learner, lesson and what it pays; nobody deletes the lesson until this transaction ends."""
        query = (
            sa.select(Submission.user_id, Lesson.id, Lesson.xp_value)
            .join(Lesson, Lesson.id == Submission.lesson_id)
            .where(Submission.id == submission_id)
            .with_for_update(read=True, key_share=True, of=Lesson)
        )
        return (await self.session.execute(query)).one_or_none()

    async def grade(self, submission_id: UUID, values: dict[str, Any]) -> bool:
        """Grade a pending submission; False when it is not, or no longer, pending."""
        query = (
            sa.update(Submission)
            .where(Submission.id == submission_id, Submission.status == SubmissionStatus.PENDING)
            .values(values)
            .returning(Submission.id)
        )
        return await self.session.scalar(query) is not None
