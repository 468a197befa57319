"""Questions about everyone's progress at once."""

from datetime import datetime, timedelta
from uuid import UUID

import sqlalchemy as sa
from litestar.di import NamedDependency
from sqlalchemy.ext.asyncio import AsyncSession

from mambo.courses.models import Lesson, World
from mambo.db import Repository
from mambo.game.models import ActivityDay
from mambo.learning.models import LessonCompletion
from mambo.school.schemas import DayCount, Stats
from mambo.submissions.models import Submission, SubmissionStatus
from mambo.users.models import User

STATS_DAYS = 30


class ProgressRepository(Repository[World]):
    """Courses with everyone's progress."""

    model_type = World

    async def is_anyone_in(self, world_id: UUID) -> bool:
        """Whether learners have completions or submissions in the course; none is added until this transaction ends.

        The course is locked before its lessons, as by everyone else.
        """
        await self.session.execute(sa.select(World.id).where(World.id == world_id).with_for_update())
        lessons = sa.select(Lesson.id).where(Lesson.world_id == world_id)
        await self.session.execute(lessons.with_for_update())
        has_progress = sa.or_(
            sa.exists().where(LessonCompletion.lesson_id.in_(lessons)),
            sa.exists().where(Submission.lesson_id.in_(lessons)),
        )
        return bool(await self.session.scalar(sa.select(has_progress)))

    async def delete_world(self, world_id: UUID) -> bool:
        """Delete a course with all that is in it; False when it does not exist."""
        return await self.session.scalar(sa.delete(World).where(World.id == world_id).returning(World.id)) is not None


class StatsRepository:
    """Counts over everyone."""

    def __init__(self, session: AsyncSession) -> None:
        self.session = session

    async def get(self, now: datetime) -> Stats:
        """Count accounts and submissions, and of the last 30 days active learners and completions."""
        since = now - timedelta(days=STATS_DAYS)
        users = sa.select(sa.func.count()).select_from(User)
        submissions = sa.select(sa.func.count()).select_from(Submission)
        active = sa.select(sa.func.count(ActivityDay.user_id.distinct())).where(ActivityDay.local_date > since.date())
        counts = sa.select(
            users.scalar_subquery().label("total_users"),
            submissions.scalar_subquery().label("total_submissions"),
            submissions.where(Submission.status == SubmissionStatus.PENDING)
            .scalar_subquery()
            .label("pending_submissions"),
            active.scalar_subquery().label("active_learners"),
        )
        totals = (await self.session.execute(counts)).mappings().one()
        day = sa.cast(sa.func.timezone("UTC", LessonCompletion.completed_at), sa.Date)
        per_day = (
            sa.select(day, sa.func.count()).where(LessonCompletion.completed_at > since).group_by(day).order_by(day)
        )
        return Stats(
            **totals,
            completions_by_day=[
                DayCount(date=day.isoformat(), completions=count) for day, count in await self.session.execute(per_day)
            ],
        )


async def provide_stats(session: NamedDependency[AsyncSession]) -> StatsRepository:
    return StatsRepository(session)
