"""Queries on the XP ledger, active days and the leaderboard, and the check of the ledger's projections."""

from datetime import date, datetime, timedelta
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from litestar.di import NamedDependency
from msgspec import Struct
from msgspec.structs import replace
from sqlalchemy.dialects.postgresql import ARRAY, aggregate_order_by, insert
from sqlalchemy.ext.asyncio import AsyncSession
from uuid_utils.compat import uuid7

from mambo.database.pool import Pool
from mambo.database.repository import AFTER_ALL, Query, ReadRepository, Repository
from mambo.database.statements import param
from mambo.errors import NotFound
from mambo.game import rules
from mambo.game.models import ActivityDay, ActivityReason, WeeklyXp, XpEvent, XpKind
from mambo.game.schemas import ActivityRun, Adjusted, LeaderRow, XpRow
from mambo.users.models import User, UserProfile
from mambo.web.schemas import Page


class Standing(Struct, frozen=True):
    """A learner's XP, level, time zone, and newest run of active days, from `first_day` to `last_day`."""

    xp: int
    level: int
    timezone: str
    first_day: date | None
    last_day: date | None

    def active_on(self, day: date) -> "Standing":
        """Return the standing after this day has become active; a day before `last_day` changes nothing."""
        first_day, last_day = rules.run_with(self.first_day, self.last_day, day)
        return replace(self, first_day=first_day, last_day=last_day)

    def streak_at(self, now: datetime) -> int:
        """Return the current streak in days."""
        return rules.current_streak(self.first_day, self.last_day, rules.local_date(now, self.timezone))


def newest_run(
    user_id: sa.ColumnElement[UUID] | sa.orm.InstrumentedAttribute[UUID],
) -> tuple[sa.Label[date], sa.Label[date]]:
    """Return columns with the first and the last day of a learner's newest run of active days."""
    day, day_before = sa.orm.aliased(ActivityDay), sa.orm.aliased(ActivityDay)
    has_day_before = sa.exists().where(
        day_before.user_id == day.user_id, day_before.local_date == day.local_date - timedelta(days=1)
    )
    newest_first = sa.select(day.local_date).where(day.user_id == user_id).order_by(day.local_date.desc()).limit(1)
    return (
        newest_first.where(~has_day_before).scalar_subquery().label("first_day"),
        newest_first.scalar_subquery().label("last_day"),
    )


STANDING = sa.select(UserProfile.xp, UserProfile.level, UserProfile.timezone, *newest_run(UserProfile.user_id))


class Payment(Struct, frozen=True):
    """The result of paying XP: whether the source was paid now, and the learner's total before and after."""

    is_paid: bool
    xp_before: int
    xp_after: int

    @property
    def amount(self) -> int:
        """XP paid now; 0 when the source was paid before."""
        return self.xp_after - self.xp_before


XP_ROW = (XpEvent.id, XpEvent.kind, XpEvent.source_id, XpEvent.amount, XpEvent.at, XpEvent.reason)


class LedgerRepository(Repository[XpEvent]):
    """The XP ledger and the totals that are projected from it in the same transaction."""

    model_type = XpEvent

    async def pay(
        self,
        user_id: UUID,
        kind: XpKind,
        source_id: UUID,
        amount: int,
        at: datetime,
        *,
        actor_id: UUID | None = None,
        reason: str | None = None,
    ) -> Payment:
        """Pay XP for a source, once.

        Raises:
            NotFound: there is no such learner.
            IntegrityError: the total would be below zero.

        """
        payment = sa.func.pay_xp(uuid7(), user_id, kind, source_id, amount, at, actor_id, reason)
        row = (await self.session.execute(sa.select(payment.table_valued(*Payment.__struct_fields__)))).one()
        if row.xp_before is None:
            raise NotFound("user")
        return Payment(*row)

    async def get_standing(self, user_id: UUID) -> Standing:
        return Standing(*(await self.session.execute(STANDING.where(UserProfile.user_id == user_id))).one())

    async def get_adjustment(self, user_id: UUID, source_id: UUID) -> Adjusted:
        """Return the adjustment with this source, and the learner's total and level."""
        query = (
            sa.select(*XP_ROW, UserProfile.xp.label("new_total_xp"), UserProfile.level.label("new_level"))
            .join(UserProfile, UserProfile.user_id == XpEvent.user_id)
            .where(XpEvent.user_id == user_id, XpEvent.kind == XpKind.ADJUSTMENT, XpEvent.source_id == source_id)
        )
        return Adjusted(**(await self.session.execute(query)).mappings().one())


class ActivityRepository(Repository[ActivityDay]):
    """The days on which learners were active."""

    model_type = ActivityDay

    async def record(self, user_id: UUID, reason: ActivityReason, at: datetime) -> None:
        """Count the learner's local day as active, unless that day or a later one counts already."""
        timezone = await self.session.scalar(
            sa.select(UserProfile.timezone).where(UserProfile.user_id == user_id).with_for_update(key_share=True)
        )
        if timezone is not None:
            day = rules.local_date(at, timezone)
            await self.session.execute(sa.select(sa.func.count_day(user_id, day, reason)))


ON_LEADERBOARD = (
    sa.select(UserProfile.user_id, User.first_name, User.last_name, UserProfile.avatar_url, UserProfile.level)
    .join(User, User.id == UserProfile.user_id)
    .where(UserProfile.show_on_leaderboard, User.is_active)
    .limit(param("limit", sa.Integer()))
)
LEADERS = Query(
    ON_LEADERBOARD.add_columns(UserProfile.xp.label("xp_total"))
    .where(UserProfile.xp > 0)
    .order_by(UserProfile.xp.desc(), UserProfile.xp_reached_at, UserProfile.user_id),
    LeaderRow,
)
WEEKLY_LEADERS = Query(
    ON_LEADERBOARD.add_columns(WeeklyXp.xp.label("xp_total"))
    .join(WeeklyXp, WeeklyXp.user_id == UserProfile.user_id)
    .where(WeeklyXp.week == param("week", sa.Date()), WeeklyXp.xp > 0)
    .order_by(WeeklyXp.xp.desc(), WeeklyXp.reached_at, WeeklyXp.user_id),
    LeaderRow,
)
XP_EVENTS = Query(
    sa.select(*XP_ROW)
    .where(XpEvent.user_id == param("user_id", sa.Uuid()), XpEvent.id < param("cursor", sa.Uuid()))
    .order_by(XpEvent.id.desc())
    .limit(param("limit", sa.Integer())),
    XpRow,
)


def select_runs() -> sa.Select[*tuple[Any, ...]]:
    """Select each run of active days as an `ActivityRun`, the oldest first."""
    day, number = ActivityDay.local_date, sa.func.row_number().over(order_by=ActivityDay.local_date)
    # Within a run the date and the row number grow together: their difference is the same for all of its days.
    run = day - sa.cast(number, sa.Integer)
    days = sa.select(day, ActivityDay.reason, run.label("run")).where(
        ActivityDay.user_id == param("user_id", sa.Uuid())
    )
    numbered = days.subquery()
    reasons = sa.func.array_agg(aggregate_order_by(numbered.c.reason, numbered.c.local_date))
    return (
        sa.select(
            sa.func.min(numbered.c.local_date).label("first_day"),
            sa.func.max(numbered.c.local_date).label("last_day"),
            reasons.filter(numbered.c.local_date >= param("since", sa.Date())).label("reasons"),
        )
        .group_by(numbered.c.run)
        .order_by("first_day")
    )


RUNS = Query(select_runs(), ActivityRun)


class GameReadRepository(ReadRepository):
    """Reads the leaderboard, and one learner's XP and active days."""

    async def get_leaders(self, week: date | None, *, limit: int) -> list[LeaderRow]:
        """Return the learners with the most XP, ever or of a week; of equals, the first to reach it comes first."""
        if week is None:
            return await self._all(LEADERS, limit=limit)
        return await self._all(WEEKLY_LEADERS, week=week, limit=limit)

    async def get_xp(self, user_id: UUID, *, limit: int, cursor: UUID | None) -> Page[XpRow]:
        """Return a page of the learner's XP ledger, the newest row first."""
        items, next_cursor = await self._page(XP_EVENTS, limit=limit, user_id=user_id, cursor=cursor or AFTER_ALL)
        return Page(items=items, next_cursor=next_cursor)

    async def get_runs(self, user_id: UUID, *, since: date) -> list[ActivityRun]:
        """Return the learner's runs of active days, the oldest first, with the reasons of days from `since` on."""
        return await self._all(RUNS, user_id=user_id, since=since)


def provide_game_reads(pool: NamedDependency[Pool]) -> GameReadRepository:
    return GameReadRepository(pool)


class Difference(Struct, frozen=True):
    """A projection that differs from the ledger: a learner's total, or (if `week` is not None) one of their weeks.

    `xp` and `reached_at` are None when the projection has no row.
    """

    user_id: UUID
    week: date | None
    xp: int | None
    reached_at: datetime | None
    ledger_xp: int
    ledger_reached_at: datetime | None


# The projections of some learners with the values that follow from the ledger, where the two differ.
COMPARISON = sa.text("""
    SELECT user_id, week, sum(xp), max(reached_at), coalesce(sum(amount), 0), max(moved_at)
    FROM (
        SELECT user_id, NULL::date AS week, xp, xp_reached_at AS reached_at,
               NULL::integer AS amount, NULL::timestamptz AS moved_at FROM user_profile
        UNION ALL
        SELECT user_id, week, xp, reached_at, NULL, NULL FROM weekly_xp
        UNION ALL
        SELECT user_id, NULL, NULL, NULL, amount, CASE WHEN amount <> 0 THEN at END FROM xp_event
        UNION ALL
        SELECT user_id, date_trunc('week', at AT TIME ZONE 'UTC')::date, NULL, NULL, amount, at
        FROM xp_event WHERE amount <> 0
    ) AS both_sides
    WHERE user_id = ANY (:user_ids)
    GROUP BY user_id, week
    HAVING (sum(xp), max(reached_at)) IS DISTINCT FROM (coalesce(sum(amount), 0), max(moved_at))
    ORDER BY user_id, week NULLS FIRST
""").bindparams(sa.bindparam("user_ids", type_=ARRAY(sa.Uuid())))


class AuditRepository:
    """Compares the projections of the ledger with the ledger, in batches of learners."""

    def __init__(self, session: AsyncSession) -> None:
        self.session = session

    async def count_learners(self) -> int:
        return await self.session.scalar(sa.select(sa.func.count()).select_from(UserProfile)) or 0

    async def get_batch(self, after: UUID, *, limit: int, is_locked: bool) -> list[UUID]:
        """Return the ids of the next learners; `is_locked` blocks payments to them until the transaction ends."""
        query = sa.select(UserProfile.user_id).where(UserProfile.user_id > after)
        query = query.order_by(UserProfile.user_id).limit(limit)
        return list(await self.session.scalars(query.with_for_update(key_share=True) if is_locked else query))

    async def find_differences(self, user_ids: list[UUID]) -> list[Difference]:
        """Return the differences of these learners, from one statement and so one snapshot."""
        return [Difference(*row) for row in await self.session.execute(COMPARISON, {"user_ids": user_ids})]

    async def correct(self, differences: list[Difference]) -> None:
        """Write the values that follow from the ledger."""
        for difference in differences:
            await self.session.execute(correction(difference))


def correction(difference: Difference) -> sa.Update | sa.Delete | sa.Insert:
    if difference.week is None:
        total = sa.update(UserProfile).where(UserProfile.user_id == difference.user_id)
        return total.values(xp=difference.ledger_xp, xp_reached_at=difference.ledger_reached_at)
    if difference.ledger_reached_at is None:
        return sa.delete(WeeklyXp).where(WeeklyXp.user_id == difference.user_id, WeeklyXp.week == difference.week)
    values = {"xp": difference.ledger_xp, "reached_at": difference.ledger_reached_at}
    week = insert(WeeklyXp).values(user_id=difference.user_id, week=difference.week, **values)
    return week.on_conflict_do_update(index_elements=["user_id", "week"], set_=values)
