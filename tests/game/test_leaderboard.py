"""The leaderboard: of all time and of the week, in a total order, without those who do not want to be seen."""

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

from conftest import START, TurnableClock
from factories import Caller, School
from game.test_ledger import MONDAY, pay
from mambo.game.repository import LeaderboardRepository

SECOND = timedelta(seconds=1)


async def leaders(caller: Caller, **query: Any) -> list[dict[str, Any]]:
    response = await caller.get("/api/users/leaderboard", params=query)
    assert response.status_code == 200
    places: list[dict[str, Any]] = response.json()
    return places


async def ids(caller: Caller, **query: Any) -> list[str]:
    return [place["user_id"] for place in await leaders(caller, **query)]


async def test_who_has_more_xp_stands_first(school: School) -> None:
    """Under a first name and an initial."""
    ana = await school.person(first_name="Ana María", last_name="Ruiz")
    ben = await school.person(first_name="Ben", last_name="de la Cruz")
    await pay(school, ana, 100)
    await pay(school, ben, 950)

    assert await leaders(ana) == [
        {
            "rank": 1,
            "user_id": str(ben.user_id),
            "name": "Ben d.",
            "avatar_url": None,
            "xp_total": 950,
            "level": 3,
        },
        {
            "rank": 2,
            "user_id": str(ana.user_id),
            "name": "Ana María R.",
            "avatar_url": None,
            "xp_total": 100,
            "level": 1,
        },
    ]


@pytest.mark.parametrize("period", ["all", "week"])
async def test_among_equals_stands_first_who_got_there_first_then_the_lower_id(school: School, period: str) -> None:
    first, second, late = [await school.person() for _ in range(3)]
    await pay(school, late, 100, START + SECOND)
    for someone in (second, first):
        await pay(school, someone, 50, START - SECOND)
        await pay(school, someone, 50, START)

    assert await ids(first, period=period) == [str(someone.user_id) for someone in (first, second, late)]
    assert [place["rank"] for place in await leaders(first, period=period)] == [1, 2, 3]


async def test_a_week_counts_from_monday_in_utc(school: School, clock: TurnableClock) -> None:
    """To the microsecond, and whatever was earned before."""
    ana, ben, cleo = [await school.person() for _ in range(3)]
    await pay(school, ana, 400, MONDAY - timedelta(microseconds=1))
    await pay(school, ana, 10, MONDAY)
    await pay(school, ben, 20, MONDAY + timedelta(days=7) - timedelta(microseconds=1))
    await pay(school, cleo, 500, MONDAY - timedelta(microseconds=1))
    clock.now = datetime(2026, 3, 8, 23, 59, 59, tzinfo=UTC)

    week = await leaders(ana, period="week")

    assert [(place["user_id"], place["xp_total"], place["level"]) for place in week] == [
        (str(ben.user_id), 20, 1),
        (str(ana.user_id), 10, 2),
    ]


@pytest.mark.parametrize("period", ["all", "week"])
async def test_who_is_hidden_disabled_or_without_xp_is_absent(school: School, period: str) -> None:
    seen, hidden, new, undone = [await school.person() for _ in range(4)]
    disabled = await school.person(is_active=False)
    for someone in (seen, hidden, disabled, undone):
        await pay(school, someone, 100)
    await pay(school, undone, -100)
    await hidden.patch("/api/users/me", {"show_on_leaderboard": False})

    assert await ids(new, period=period) == [str(seen.user_id)]


async def test_a_leaderboard_is_as_long_as_asked_for(school: School) -> None:
    people = [await school.person() for _ in range(3)]
    for number, someone in enumerate(people):
        await pay(school, someone, 10 + number)

    assert await ids(people[0], limit=2) == [str(people[2].user_id), str(people[1].user_id)]


@pytest.mark.parametrize("query", [{"limit": 0}, {"limit": 101}, {"period": "month"}])
async def test_a_leaderboard_that_there_is_not_is_refused(school: School, query: dict[str, Any]) -> None:
    ana = await school.person()

    assert (await ana.get("/api/users/leaderboard", params=query)).status_code == 422


@pytest.mark.parametrize(
    ("week", "index"), [(None, "ix_user_profile_leaders"), (MONDAY.date(), "ix_weekly_xp_leaders")], ids=["all", "week"]
)
async def test_an_index_has_the_leaderboards_order(engine: AsyncEngine, week: date | None, index: str) -> None:
    """Nothing is sorted, so that the limit ends the reading: the very statement, where tables are not read whole."""
    asked: list[tuple[str, Any]] = []
    async with AsyncSession(engine) as session:
        connection = await session.connection()
        sync = connection.sync_connection
        await session.execute(sa.text("SET LOCAL enable_seqscan = off"))
        await session.execute(sa.text("SET LOCAL enable_bitmapscan = off"))
        await session.execute(sa.text("SET LOCAL enable_sort = off"))
        sa.event.listen(sync, "before_cursor_execute", lambda *told: asked.append((told[2], told[3])))
        await LeaderboardRepository(session).get_leaders(week, limit=50)
        [(statement, values)] = asked
        plan = "\n".join((await connection.exec_driver_sql(f"EXPLAIN {statement}", values)).scalars())

    assert index in plan
    assert "Sort" not in plan
