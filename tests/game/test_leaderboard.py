"""The leaderboard, ever and of the week: its order, and who is on it."""

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine

from conftest import START, TurnableClock
from factories import Caller, School
from mambo.database.repository import Query
from mambo.game.repository import LEADERS, WEEKLY_LEADERS
from mambo.game.schemas import LeaderRow
from support.ledger import MONDAY, pay

SECOND = timedelta(seconds=1)


async def get_leaders(caller: Caller, **query: Any) -> list[dict[str, Any]]:
    response = await caller.get("/api/users/leaderboard", params=query)
    assert response.status_code == 200
    leaders: list[dict[str, Any]] = response.json()
    return leaders


async def get_ids(caller: Caller, **query: Any) -> list[str]:
    return [leader["user_id"] for leader in await get_leaders(caller, **query)]


async def test_learners_are_in_order_of_xp(school: School) -> None:
    """They are shown by first name and initial."""
    ana = await school.person(first_name="Ana María", last_name="Ruiz")
    ben = await school.person(first_name="Ben", last_name="de la Cruz")
    await pay(school, ana, 100)
    await pay(school, ben, 950)

    assert await get_leaders(ana) == [
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
async def test_equal_xp_is_ordered_by_when_it_was_reached_then_by_id(school: School, period: str) -> None:
    first, second, late = [await school.person() for _ in range(3)]
    await pay(school, late, 100, START + SECOND)
    for person in (second, first):
        await pay(school, person, 50, START - SECOND)
        await pay(school, person, 50, START)

    assert await get_ids(first, period=period) == [str(person.user_id) for person in (first, second, late)]
    assert [leader["rank"] for leader in await get_leaders(first, period=period)] == [1, 2, 3]


async def test_a_week_begins_on_monday_in_utc(school: School, clock: TurnableClock) -> None:
    """To the microsecond; the level is that of all XP."""
    ana, ben, cleo = [await school.person() for _ in range(3)]
    await pay(school, ana, 400, MONDAY - timedelta(microseconds=1))
    await pay(school, ana, 10, MONDAY)
    await pay(school, ben, 20, MONDAY + timedelta(days=7) - timedelta(microseconds=1))
    await pay(school, cleo, 500, MONDAY - timedelta(microseconds=1))
    clock.now = datetime(2026, 3, 8, 23, 59, 59, tzinfo=UTC)

    week = await get_leaders(ana, period="week")

    assert [(leader["user_id"], leader["xp_total"], leader["level"]) for leader in week] == [
        (str(ben.user_id), 20, 1),
        (str(ana.user_id), 10, 2),
    ]


@pytest.mark.parametrize("period", ["all", "week"])
async def test_learners_who_are_hidden_disabled_or_without_xp_are_absent(school: School, period: str) -> None:
    seen, hidden, new, undone = [await school.person() for _ in range(4)]
    disabled = await school.person(is_active=False)
    for person in (seen, hidden, disabled, undone):
        await pay(school, person, 100)
    await pay(school, undone, -100)
    await hidden.patch("/api/users/me", {"show_on_leaderboard": False})

    assert await get_ids(new, period=period) == [str(seen.user_id)]


async def test_limit_is_the_length_of_the_leaderboard(school: School) -> None:
    people = [await school.person() for _ in range(3)]
    for number, person in enumerate(people):
        await pay(school, person, 10 + number)

    assert await get_ids(people[0], limit=2) == [str(people[2].user_id), str(people[1].user_id)]


@pytest.mark.parametrize("query", [{"limit": 0}, {"limit": 101}, {"period": "month"}])
async def test_invalid_parameters_are_refused(school: School, query: dict[str, Any]) -> None:
    ana = await school.person()

    assert (await ana.get("/api/users/leaderboard", params=query)).status_code == 422


@pytest.mark.parametrize(
    ("query", "week", "index"),
    [(LEADERS, None, "ix_user_profile_leaders"), (WEEKLY_LEADERS, MONDAY.date(), "ix_weekly_xp_leaders")],
    ids=["all", "week"],
)
async def test_an_index_has_the_order_of_the_leaderboard(
    engine: AsyncEngine, query: Query[LeaderRow], week: date | None, index: str
) -> None:
    """The plan has no sort, so reading stops at the limit."""
    values = tuple(query.arguments({"week": week, "limit": 50}))
    async with engine.begin() as connection:
        for method in ("seqscan", "bitmapscan", "sort"):
            await connection.execute(sa.text(f"SET LOCAL enable_{method} = off"))
        plan = "\n".join((await connection.exec_driver_sql(f"EXPLAIN {query.sql}", values)).scalars())

    assert index in plan
    assert "Sort" not in plan
