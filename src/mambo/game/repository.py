"""Paying XP, recording active days, and where a learner stands."""

from datetime import date, datetime, timedelta
from uuid import UUID

import sqlalchemy as sa
from msgspec import Struct
from sqlalchemy.dialects.postgresql import insert
from uuid_utils.compat import uuid7

from mambo.db import Repository
from mambo.game import rules
from mambo.game.models import ActivityDay, XpEvent, XpKind
from mambo.users.models import UserProfile


class Standing(Struct, frozen=True):
    """What a learner has reached; the streak is the newest run of active days."""

    xp: int
    level: int
    timezone: str
    first_day: date | None
    last_day: date | None

    def streak_at(self, now: datetime) -> int:
        return rules.current_streak(self.first_day, self.last_day, rules.local_date(now, self.timezone))


def newest_run(
    user_id: sa.ColumnElement[UUID] | sa.orm.InstrumentedAttribute[UUID],
) -> tuple[sa.Label[date], sa.Label[date]]:
    """The first and the last day of a learner's newest run of active days, as `first_day` and `last_day` columns."""
    day, eve = sa.orm.aliased(ActivityDay), sa.orm.aliased(ActivityDay)
    has_eve = sa.exists().where(eve.user_id == day.user_id, eve.local_date == day.local_date - timedelta(days=1))
    newest_first = sa.select(day.local_date).where(day.user_id == user_id).order_by(day.local_date.desc()).limit(1)
    return (
        newest_first.where(~has_eve).scalar_subquery().label("first_day"),
        newest_first.scalar_subquery().label("last_day"),
    )


class LedgerRepository(Repository[XpEvent]):
    """The XP ledger and the totals that are projected from it in the same transaction."""

    model_type = XpEvent

    async def pay(self, user_id: UUID, kind: XpKind, source_id: UUID, amount: int, at: datetime) -> bool:
        """Pay XP for a source, once ever; False when it was paid before."""
        event = (
            insert(XpEvent)
            .values(id=uuid7(), user_id=user_id, kind=kind, source_id=source_id, amount=amount, at=at)
            .on_conflict_do_nothing(constraint="uq_xp_event_source")
            .returning(XpEvent.id)
        )
        if await self.session.scalar(event) is None:
            return False
        total = sa.update(UserProfile).where(UserProfile.user_id == user_id).values(xp=UserProfile.xp + amount)
        await self.session.execute(total)
        return True

    async def get_standing(self, user_id: UUID) -> Standing:
        query = sa.select(
            UserProfile.xp, UserProfile.level, UserProfile.timezone, *newest_run(UserProfile.user_id)
        ).where(UserProfile.user_id == user_id)
        return Standing(*(await self.session.execute(query)).one())


class ActivityRepository(Repository[ActivityDay]):
    """The days on which learners were active."""

    model_type = ActivityDay

    async def record(self, user_id: UUID, at: datetime) -> None:
        """Count the learner's local day; a day that counts already, or lies before a counted one, changes nothing."""
        timezone = await self.session.scalar(
            sa.select(UserProfile.timezone).where(UserProfile.user_id == user_id).with_for_update(key_share=True)
        )
        day = rules.local_date(at, timezone or "UTC")
        counted = sa.exists().where(ActivityDay.user_id == user_id, ActivityDay.local_date >= day)
        values = sa.select(sa.literal(user_id), sa.literal(day)).where(~counted)
        await self.session.execute(insert(ActivityDay).from_select(["user_id", "local_date"], values))
