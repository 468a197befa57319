"""Questions about everyone's progress at once."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

import sqlalchemy as sa
from litestar.di import NamedDependency
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.ext.asyncio import AsyncSession

from mambo.adapters.shared_results import SharedResults
from mambo.courses.models import Lesson, World
from mambo.database.repository import Repository
from mambo.game.models import ActivityDay
from mambo.progress.models import LessonCompletion
from mambo.reports.schemas import DayCount, RecentActivity, Stats
from mambo.submissions.models import Submission
from mambo.submissions.rules import SubmissionStatus
from mambo.users.models import User

STATS_DAYS = 30
TIMES = ARRAY(sa.DateTime(timezone=True))


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
    """Counts over everyone; what goes through all that learners did in 30 days is shared and kept for a while."""

    def __init__(self, session: AsyncSession, answers: SharedResults) -> None:
        self.session, self.answers = session, answers

    async def get(self, now: datetime) -> Stats:
        """Count accounts and submissions, and of the last 30 days active learners and completions."""
        lately = await self.answers.get("stats", RecentActivity, lambda: self._count_lately(now))
        users = sa.select(sa.func.count()).select_from(User)
        submissions = sa.select(sa.func.count()).select_from(Submission)
        pending = submissions.where(Submission.status == SubmissionStatus.PENDING)
        counts = sa.select(*(query.scalar_subquery() for query in (users, submissions, pending)))
        total_users, total_submissions, pending_submissions = (await self.session.execute(counts)).one()
        return Stats(
            total_users=total_users,
            total_submissions=total_submissions,
            pending_submissions=pending_submissions,
            active_learners=lately.active_learners,
            completions_by_day=lately.completions_by_day,
        )

    async def _count_lately(self, now: datetime) -> RecentActivity:
        """Day by day, and so from the index on the time alone."""
        since = now - timedelta(days=STATS_DAYS)
        ends = [midnight(since + timedelta(days=day + 1)) for day in range(STATS_DAYS + 1)]
        begins = [since, *ends[:-1]]
        times = sa.func.unnest(sa.literal(begins, TIMES), sa.literal(ends, TIMES))
        days = times.table_valued("begin", "end", name="day").render_derived()
        completions = sa.select(sa.func.count()).where(
            LessonCompletion.completed_at >= days.c.begin, LessonCompletion.completed_at < days.c.end
        )
        active = sa.select(sa.func.count(ActivityDay.user_id.distinct())).where(ActivityDay.local_date > since.date())
        query = sa.select(days.c.begin, completions.scalar_subquery(), active.scalar_subquery()).order_by(days.c.begin)
        rows = (await self.session.execute(query)).all()
        return RecentActivity(
            active_learners=rows[0][2],
            completions_by_day=[DayCount(begin.date().isoformat(), count) for begin, count, _ in rows if count],
        )


def midnight(moment: datetime) -> datetime:
    return moment.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)


async def provide_stats(
    session: NamedDependency[AsyncSession], shared_results: NamedDependency[SharedResults]
) -> StatsRepository:
    return StatsRepository(session, shared_results)
