"""Active days: one row for each local day, also across time zones."""

import asyncio
from datetime import date, datetime, timedelta
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from conftest import TurnableClock
from factories import School
from mambo.game.models import ActivityDay, ActivityReason, XpKind
from mambo.game.repository import ActivityRepository, LedgerRepository
from mambo.users.models import UserProfile


async def record(school: School, user_id: UUID, at: datetime) -> None:
    async with school.sessions() as session, session.begin():
        await ActivityRepository(session).record(user_id, ActivityReason.SIGN_IN, at)


async def days_of(school: School) -> list[date]:
    async with school.sessions() as session:
        return list(await session.scalars(sa.select(ActivityDay.local_date).order_by(ActivityDay.local_date)))


async def test_concurrent_activities_count_a_day_once(school: School, clock: TurnableClock) -> None:
    ana = await school.person()

    await asyncio.gather(*(record(school, ana.user_id, clock()) for _ in range(20)))

    assert await days_of(school) == [date(2026, 3, 2)]


async def test_moving_west_over_the_date_line_neither_loses_nor_repeats_a_day(
    school: School, clock: TurnableClock
) -> None:
    """A date before the newest active day is ignored; the streak continues after that day."""
    ana = await school.person(timezone="Pacific/Kiritimati")
    await record(school, ana.user_id, clock())
    async with school.sessions() as session, session.begin():
        await session.execute(sa.update(UserProfile).values(timezone="Pacific/Pago_Pago"))

    for _ in range(4):
        await record(school, ana.user_id, clock())
        clock.turn(timedelta(hours=24))

    assert await days_of(school) == [date(2026, 3, 3), date(2026, 3, 4), date(2026, 3, 5)]
    assert (await ana.get("/api/users/me")).json()["streak_count"] == 3


async def test_a_source_pays_once_and_the_total_follows_the_ledger(school: School, clock: TurnableClock) -> None:
    ana, ben = await school.person(), await school.person()
    lesson_id = ana.user_id

    async def pay(user_id: UUID, kind: XpKind) -> Any:
        async with school.sessions() as session, session.begin():
            return (await LedgerRepository(session).pay(user_id, kind, lesson_id, 25, clock())).is_paid

    paid = await asyncio.gather(*(pay(ana.user_id, XpKind.LESSON) for _ in range(5)))
    others = [await pay(ana.user_id, XpKind.QUIZ), await pay(ben.user_id, XpKind.LESSON)]

    assert sorted(paid) == [False, False, False, False, True]
    assert others == [True, True]
    assert await school.scalar(sa.select(UserProfile.xp).where(UserProfile.user_id == ana.user_id)) == 50
