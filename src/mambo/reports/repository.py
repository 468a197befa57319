"""Counts over all learners."""

from datetime import date, datetime

import sqlalchemy as sa
from msgspec import Struct
from sqlalchemy.dialects.postgresql import ARRAY

from mambo.database.repository import Query, ReadRepository
from mambo.database.statements import param
from mambo.game.models import ActivityDay
from mambo.progress.models import LessonCompletion
from mambo.reports.schemas import Totals
from mambo.submissions.models import Submission
from mambo.submissions.rules import SubmissionStatus
from mambo.users.models import User

TIMES = ARRAY(sa.DateTime(timezone=True))


class DayRow(Struct, frozen=True):
    """A day, its completions, and the learners who were active on any day of the report."""

    begin: datetime
    completions: int
    active_learners: int


SUBMISSIONS = sa.select(sa.func.count()).select_from(Submission)
TOTALS = Query(
    sa.select(
        sa.select(sa.func.count()).select_from(User).scalar_subquery().label("total_users"),
        SUBMISSIONS.scalar_subquery().label("total_submissions"),
        SUBMISSIONS.where(Submission.status == SubmissionStatus.PENDING).scalar_subquery().label("pending_submissions"),
    ),
    Totals,
)
DAY = (
    sa.func.unnest(param("begins", TIMES), param("ends", TIMES))
    .table_valued("begin", "end", name="day")
    .render_derived()
)
DAYS = Query(
    # Completions are counted for each day alone, so that an index on their time is enough.
    sa.select(
        DAY.c.begin,
        sa.select(sa.func.count())
        .where(LessonCompletion.completed_at >= DAY.c.begin, LessonCompletion.completed_at < DAY.c.end)
        .scalar_subquery()
        .label("completions"),
        sa.select(sa.func.count(ActivityDay.user_id.distinct()))
        .where(ActivityDay.local_date > param("since", sa.Date()))
        .scalar_subquery()
        .label("active_learners"),
    ).order_by(DAY.c.begin),
    DayRow,
)


class StatsRepository(ReadRepository):
    """Counts accounts, submissions and activity."""

    async def get_totals(self) -> Totals:
        return await self._required(TOTALS)

    async def get_days(self, begins: list[datetime], ends: list[datetime], since: date) -> list[DayRow]:
        """Count completions for each day from `begins` to `ends`, and the learners who were active after `since`."""
        return await self._all(DAYS, begins=begins, ends=ends, since=since)
