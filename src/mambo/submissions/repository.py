"""Queries on submissions to boss battles."""

from functools import cache
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from litestar.di import NamedDependency
from msgspec import Struct
from msgspec.structs import asdict
from sqlalchemy.orm import aliased

from mambo.courses.models import Lesson, World
from mambo.database.pool import Pool
from mambo.database.repository import AFTER_ALL, BEFORE_ALL, Query, ReadRepository, Repository, Search
from mambo.database.statements import Statement, param
from mambo.errors import NotFound
from mambo.submissions.models import CURRENT, Submission
from mambo.submissions.rules import Battle, SubmissionStatus
from mambo.submissions.schemas import OwnSubmission, QueuedSubmission, QueueRow, SubmissionRow, to_own, to_queued
from mambo.users.models import User, UserProfile
from mambo.users.repository import NAME_TEXT, contains, users_containing
from mambo.videos.models import VideoUpload
from mambo.videos.rules import FAILED
from mambo.web.schemas import Page

MOST_SHOWN = 100
SCANNED = 2000  # submissions that a search reads before it uses the index
Reviewer = aliased(User)
LEARNER_NAME = User.first_name + " " + User.last_name
SUBMISSIONS = (
    sa.select(
        Submission.id,
        Submission.lesson_id,
        Submission.status,
        Submission.video_url,
        Submission.feedback_text,
        Submission.feedback_video_url,
        Submission.submitted_at,
        Submission.reviewed_at,
        VideoUpload.status.label("upload_status"),
        VideoUpload.error.label("upload_error"),
        VideoUpload.playback_id,
        Lesson.title.label("lesson_title"),
    )
    .join(Lesson, Lesson.id == Submission.lesson_id)
    .outerjoin(VideoUpload, VideoUpload.id == Submission.video_upload_id)
)
QUEUE = (
    SUBMISSIONS.add_columns(
        Submission.user_id,
        LEARNER_NAME.label("learner_name"),
        UserProfile.avatar_url,
        UserProfile.level,
        World.id.label("world_id"),
        World.title.label("world_title"),
        (Reviewer.first_name + " " + Reviewer.last_name).label("reviewer_name"),
    )
    .join(User, User.id == Submission.user_id)
    .join(UserProfile, UserProfile.user_id == User.id)
    .join(World, World.id == Lesson.world_id)
    .outerjoin(Reviewer, Reviewer.id == Submission.reviewer_id)
)
OWN = Query(
    SUBMISSIONS.where(Submission.user_id == param("user_id", sa.Uuid()))
    .order_by(Submission.id.desc())
    .limit(MOST_SHOWN),
    SubmissionRow,
)
FILTERS = {
    "status": Submission.status == param("status", sa.Text()),
    "lesson_id": Submission.lesson_id == param("lesson_id", sa.Uuid()),
    "world_id": Lesson.world_id == param("world_id", sa.Uuid()),
    "user_id": Submission.user_id == param("user_id", sa.Uuid()),
}


class SubmissionFilter(Struct, frozen=True):
    """Conditions for a list of submissions; None is no condition. `search` is a part of the learner's name."""

    status: SubmissionStatus | None
    lesson_id: UUID | None
    world_id: UUID | None
    user_id: UUID | None
    search: str | None


@cache
def queue_query(filters: frozenset[str], *, is_ascending: bool, scanned: int) -> Query[QueueRow] | Search[QueueRow]:
    """Return the query of a page with these filters; there are few combinations, and each is compiled once."""
    cursor, order = param("cursor", sa.Uuid()), sa.asc if is_ascending else sa.desc
    conditions = [condition for name, condition in FILTERS.items() if name in filters]
    conditions.append(Submission.id > cursor if is_ascending else Submission.id < cursor)
    every = sa.select(Submission.id, Submission.user_id).join(Lesson, Lesson.id == Submission.lesson_id)
    every = every.where(*conditions)

    def page(found: sa.Subquery) -> Query[QueueRow]:
        ids = sa.select(found.c.id).order_by(order(found.c.id)).limit(param("limit", sa.Integer()))
        return Query(QUEUE.where(Submission.id.in_(ids)).order_by(order(Submission.id)), QueueRow)

    if "search" not in filters:
        return page(every.subquery())
    words = param("search", sa.Text())
    first = every.order_by(order(Submission.id)).limit(scanned)
    scan = first.subquery()
    learners = users_containing(words, NAME_TEXT)
    return Search(
        scan=page(
            sa.select(scan.c.id).join(User, User.id == scan.c.user_id).where(contains(NAME_TEXT, words)).subquery()
        ),
        beyond=Statement(first.limit(1).offset(scanned)),
        index=page(every.join(learners, learners.c.id == Submission.user_id).offset(0).subquery()),
    )


class SubmissionReadRepository(ReadRepository):
    """Reads submissions, for their learners and for staff."""

    async def get_own(self, user_id: UUID) -> list[OwnSubmission]:
        """Return the learner's hundred newest submissions, the newest first."""
        return [to_own(row) for row in await self._all(OWN, user_id=user_id)]

    async def get_queue(self, wanted: SubmissionFilter, *, limit: int, cursor: UUID | None) -> Page[QueuedSubmission]:
        """Return a page of submissions: pending ones the oldest first, any other list the newest first."""
        values = {name: value for name, value in asdict(wanted).items() if value is not None}
        is_ascending = wanted.status is SubmissionStatus.PENDING
        query = queue_query(frozenset(values), is_ascending=is_ascending, scanned=SCANNED)
        start = cursor or (BEFORE_ALL if is_ascending else AFTER_ALL)
        rows, next_cursor = await self._page(query, limit=limit, cursor=start, **values)
        return Page(items=[to_queued(row) for row in rows], next_cursor=next_cursor)


def provide_submission_reads(pool: NamedDependency[Pool]) -> SubmissionReadRepository:
    return SubmissionReadRepository(pool)


class Reward(Struct, frozen=True):
    """The learner whom an approval pays, for which lesson, and how much."""

    user_id: UUID
    lesson_id: UUID
    xp: int


class SubmissionRepository(Repository[Submission]):
    """Submissions in the transaction of a session."""

    model_type = Submission
    label = "submission"

    async def get_battle(self, lesson_id: UUID, user_id: UUID) -> Battle | None:
        """Return the lesson with the learner's submission, and lock the lesson against deletion; None without it."""
        own = sa.and_(Submission.lesson_id == Lesson.id, Submission.user_id == user_id, Submission.status.in_(CURRENT))
        query = (
            sa.select(
                World.is_published,
                World.is_free,
                Lesson.is_boss_battle,
                Submission.status.label("submission_status"),
                VideoUpload.status.label("upload_status"),
            )
            .join(Lesson, Lesson.world_id == World.id)
            .outerjoin(Submission, own)
            .outerjoin(VideoUpload, VideoUpload.id == Submission.video_upload_id)
            .where(Lesson.id == lesson_id)
            .with_for_update(read=True, key_share=True, of=Lesson)
        )
        row = (await self.session.execute(query)).one_or_none()
        return None if row is None else Battle(*row)

    async def withdraw_failed(self, user_id: UUID, lesson_id: UUID) -> None:
        """Delete the learner's pending submission if its video failed."""
        failed = sa.select(VideoUpload.id).where(VideoUpload.status.in_(FAILED))
        # One statement: it deletes nothing if the submission was graded since it was read.
        query = sa.delete(Submission).where(
            Submission.user_id == user_id,
            Submission.lesson_id == lesson_id,
            Submission.status == SubmissionStatus.PENDING,
            Submission.video_upload_id.in_(failed),
        )
        await self.session.execute(query, execution_options={"synchronize_session": False})

    async def get_row(self, submission_id: UUID) -> SubmissionRow:
        """Return the submission as it is stored now."""
        result = await self.session.execute(SUBMISSIONS.where(Submission.id == submission_id))
        return SubmissionRow(**result.mappings().one())

    async def get_queue_row(self, submission_id: UUID) -> QueueRow:
        """Return the submission as it is stored now, with its learner, course and reviewer."""
        result = await self.session.execute(QUEUE.where(Submission.id == submission_id))
        return QueueRow(**result.mappings().one())

    async def get_reward(self, submission_id: UUID) -> Reward:
        """Return what an approval pays, and lock the lesson against deletion.

        Raises:
            NotFound: there is no such submission.

        """
        query = (
            sa.select(Submission.user_id, Submission.lesson_id, Lesson.xp_value)
            .join(Lesson, Lesson.id == Submission.lesson_id)
            .where(Submission.id == submission_id)
            .with_for_update(read=True, key_share=True, of=Lesson)
        )
        row = (await self.session.execute(query)).one_or_none()
        if row is None:
            raise NotFound(self.label)
        return Reward(*row)

    async def grade(self, submission_id: UUID, values: dict[str, Any]) -> bool:
        """Grade a pending submission; return False when it is not pending any more."""
        # One statement, so that of concurrent grades one succeeds.
        query = (
            sa.update(Submission)
            .where(Submission.id == submission_id, Submission.status == SubmissionStatus.PENDING)
            .values(values)
            .returning(Submission.id)
        )
        return await self.session.scalar(query) is not None
