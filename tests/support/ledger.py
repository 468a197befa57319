"""Pays XP, and reads what is projected from the ledger."""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import sqlalchemy as sa

from conftest import START
from factories import Caller, School
from mambo.game.models import WeeklyXp, XpKind
from mambo.game.repository import LedgerRepository
from mambo.users.models import UserProfile

MONDAY = datetime(2026, 3, 2, tzinfo=UTC)


async def pay(
    school: School, learner: Caller, amount: int, at: datetime = START, source_id: UUID | None = None
) -> bool:
    """Pay XP for a lesson; return whether it was paid now."""
    async with school.sessions() as session, session.begin():
        ledger = LedgerRepository(session)
        return (await ledger.pay(learner.user_id, XpKind.LESSON, source_id or uuid4(), amount, at)).is_paid


async def get_total(school: School, learner: Caller) -> tuple[int, datetime | None]:
    """Return the learner's XP, and when they reached it."""
    query = sa.select(UserProfile.xp, UserProfile.xp_reached_at).where(UserProfile.user_id == learner.user_id)
    async with school.sessions() as session:
        xp, reached_at = (await session.execute(query)).one()
        return xp, reached_at


async def get_weeks(school: School, learner: Caller) -> list[tuple[Any, ...]]:
    """Return the learner's weeks in order: their Monday, their XP, and when the learner reached it."""
    query = sa.select(WeeklyXp.week, WeeklyXp.xp, WeeklyXp.reached_at).where(WeeklyXp.user_id == learner.user_id)
    async with school.sessions() as session:
        return [tuple(row) for row in await session.execute(query.order_by(WeeklyXp.week))]
