"""The XP ledger and its projections: payments, pages, and adjustments by admins."""

import asyncio
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from conftest import START, TurnableClock
from factories import Caller, School
from mambo.errors import NotFound
from mambo.game.models import XpEvent, XpKind
from mambo.game.repository import LedgerRepository, Payment
from support.ledger import MONDAY, get_total, get_weeks, pay

HOUR = timedelta(hours=1)


# Paying


async def test_a_payment_adds_to_the_total_and_to_its_week(school: School) -> None:
    """A week begins on Monday, 00:00 UTC."""
    ana = await school.person(timezone="Pacific/Kiritimati")
    for amount, at in ((10, MONDAY - timedelta(microseconds=1)), (20, MONDAY), (30, MONDAY + HOUR)):
        await pay(school, ana, amount, at)

    assert await get_total(school, ana) == (60, MONDAY + HOUR)
    assert await get_weeks(school, ana) == [
        ((MONDAY - timedelta(days=7)).date(), 10, MONDAY - timedelta(microseconds=1)),
        (MONDAY.date(), 50, MONDAY + HOUR),
    ]
    await school.check_xp()


async def test_a_total_is_reached_at_the_newest_payment_that_changed_it(school: School) -> None:
    """A payment of 0 XP does not change that moment, nor does an older payment that arrives late."""
    ana = await school.person()
    await pay(school, ana, 50, MONDAY + HOUR)
    await pay(school, ana, 50, MONDAY)
    await pay(school, ana, 0, MONDAY + 2 * HOUR)

    assert await get_total(school, ana) == (100, MONDAY + HOUR)
    assert await get_weeks(school, ana) == [(MONDAY.date(), 100, MONDAY + HOUR)]
    await school.check_xp()


async def test_a_payment_of_zero_is_only_in_the_ledger(school: School) -> None:
    ana = await school.person()

    assert await pay(school, ana, 0)

    assert await get_total(school, ana) == (0, None)
    assert await get_weeks(school, ana) == []
    assert await school.scalar(sa.select(sa.func.count()).select_from(XpEvent)) == 1


async def test_a_payment_reports_the_total_before_and_after(school: School) -> None:
    """A source that was paid before changes nothing, even with another amount."""
    ana, lesson_id = await school.person(xp=300), uuid4()

    async with school.sessions() as session, session.begin():
        ledger = LedgerRepository(session)
        payments = [
            await ledger.pay(ana.user_id, kind, lesson_id, amount, START)
            for kind, amount in ((XpKind.LESSON, 100), (XpKind.LESSON, 70), (XpKind.QUIZ, 0))
        ]

    assert payments == [Payment(True, 300, 400), Payment(False, 400, 400), Payment(True, 400, 400)]
    assert [payment.amount for payment in payments] == [100, 0, 0]


async def test_a_payment_to_an_unknown_user_is_refused(school: School) -> None:
    nobody = Caller(school.client, uuid4(), "", "")

    with pytest.raises(NotFound):
        await pay(school, nobody, 50)
    assert await school.scalar(sa.select(sa.func.count()).select_from(XpEvent)) == 0


async def test_fifty_concurrent_payments_pay_each_source_once(school: School) -> None:
    """Ten sources, five times each, all for one learner."""
    ana = await school.person()
    sources = [uuid4() for _ in range(10)]

    paid = await asyncio.gather(*(pay(school, ana, 7, source_id=source) for source in sources * 5))

    assert sum(paid) == 10
    assert (await get_total(school, ana))[0] == 70
    await school.check_xp()


payments = st.lists(
    st.tuples(st.integers(0, 5), st.integers(-40, 200), st.integers(-20 * 24, 20 * 24)), min_size=1, max_size=15
)


@given(payments)
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_the_ledger_adds_up_to_its_projections(school: School, history: list[tuple[int, int, int]]) -> None:
    """For any payments in any order, including refused ones."""
    ana = await school.person()
    sources = [uuid4() for _ in range(6)]
    due: dict[UUID, int] = {}
    for source, amount, hours in history:
        if sources[source] in due or sum(due.values()) + amount >= 0:
            await pay(school, ana, amount, START + hours * HOUR, sources[source])
            due.setdefault(sources[source], amount)
        else:
            with pytest.raises(sa.exc.IntegrityError, match="xp_not_negative"):
                await pay(school, ana, amount, START + hours * HOUR, sources[source])

    assert (await get_total(school, ana))[0] == sum(due.values())
    await school.check_xp()


# Reading


async def test_pages_of_the_ledger_have_the_newest_row_first(school: School, clock: TurnableClock) -> None:
    ana, ben = await school.person(), await school.person()
    for amount in (10, 20, 30):
        await pay(school, ana, amount)
    await pay(school, ben, 99)

    first = (await ana.get("/api/progress/xp", params={"limit": 2})).json()
    second = (await ana.get("/api/progress/xp", params={"limit": 2, "cursor": first["next_cursor"]})).json()

    assert [row["amount"] for row in first["items"]] == [30, 20]
    assert [row["amount"] for row in second["items"]] == [10]
    assert second["next_cursor"] is None


async def test_a_row_names_its_source(school: School) -> None:
    world = await school.world(lessons=1)
    [lesson] = await school.lessons_of(world)
    ana = await school.person()
    await ana.post(f"/api/courses/lessons/{lesson.id}/complete")

    [row] = (await ana.get("/api/progress/xp")).json()["items"]

    assert UUID(row.pop("id")).version == 7
    assert row == {
        "kind": "lesson",
        "source_id": str(lesson.id),
        "amount": 50,
        "at": "2026-03-02T12:00:00Z",
        "reason": None,
    }


@pytest.mark.parametrize("query", [{"limit": 0}, {"limit": 101}, {"cursor": "next"}])
async def test_invalid_page_parameters_are_refused(school: School, query: dict[str, Any]) -> None:
    ana = await school.person()

    assert (await ana.get("/api/progress/xp", params=query)).status_code == 422


# Adjusting


async def test_an_adjustment_is_a_row_with_an_actor_and_a_reason(school: School) -> None:
    admin, ana = await school.admin(), await school.person()
    await pay(school, ana, 390)

    response = await admin.post(f"/api/admin/users/{ana.user_id}/xp", {"amount": 10, "reason": " Won the jam. "})

    body = response.json()
    assert response.status_code == 201
    assert (body["new_total_xp"], body["new_level"]) == (400, 2)
    [row, _] = (await ana.get("/api/progress/xp")).json()["items"]
    assert row == {name: body[name] for name in row}
    assert (row["kind"], row["amount"], row["reason"]) == ("adjustment", 10, "Won the jam.")
    assert await school.scalar(sa.select(XpEvent.actor_id).where(XpEvent.id == UUID(row["id"]))) == admin.user_id
    await school.check_xp()


async def test_a_repeated_adjustment_pays_once(school: School) -> None:
    """Twenty concurrent requests with one source_id: one row, and the same response to all."""
    admin, ana = await school.admin(), await school.person()
    sent = {"amount": 10, "reason": "Won the jam.", "source_id": str(uuid4())}

    replies = await asyncio.gather(*(admin.post(f"/api/admin/users/{ana.user_id}/xp", sent) for _ in range(20)))

    assert {reply.status_code for reply in replies} == {201}
    assert len({reply.text for reply in replies}) == 1
    assert replies[0].json()["new_total_xp"] == 10
    await school.check_xp()


async def test_a_source_id_with_another_adjustment_is_a_conflict(school: School) -> None:
    admin, ana = await school.admin(), await school.person()
    sent = {"amount": 10, "reason": "Won the jam.", "source_id": str(uuid4())}
    await admin.post(f"/api/admin/users/{ana.user_id}/xp", sent)

    replies = [
        await admin.post(f"/api/admin/users/{ana.user_id}/xp", sent | other)
        for other in ({"amount": 11}, {"reason": "Lost it."})
    ]

    assert [reply.status_code for reply in replies] == [409, 409]
    assert (await get_total(school, ana))[0] == 10


async def test_an_adjustment_below_zero_is_refused(school: School) -> None:
    """The ledger does not contain it."""
    admin, ana = await school.admin(), await school.person()
    await pay(school, ana, 50)

    response = await admin.post(f"/api/admin/users/{ana.user_id}/xp", {"amount": -51, "reason": "A mistake."})

    assert (response.status_code, response.json()["detail"]) == (409, "XP cannot go below zero.")
    assert await school.scalar(sa.select(sa.func.count()).select_from(XpEvent)) == 1
    await school.check_xp()


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"amount": 0}, "amount"),
        ({"amount": 1_000_001}, "amount"),
        ({"amount": 2.5}, "amount"),
        ({"reason": "  "}, "reason"),
        ({"reason": "two\nlines"}, "reason"),
        ({"source_id": "seven"}, "source_id"),
        ({"kind": "lesson"}, "kind"),
    ],
)
async def test_an_invalid_adjustment_is_refused(school: School, change: dict[str, Any], field: str) -> None:
    admin, ana = await school.admin(), await school.person()

    response = await admin.post(f"/api/admin/users/{ana.user_id}/xp", {"amount": 10, "reason": "Because."} | change)

    assert (response.status_code, response.json()["errors"][0]["field"]) == (422, field)


async def test_an_adjustment_for_an_unknown_user_is_refused(school: School) -> None:
    admin = await school.admin()

    response = await admin.post(f"/api/admin/users/{uuid4()}/xp", {"amount": 10, "reason": "Because."})

    assert (response.status_code, response.json()["detail"]) == (404, "There is no such user.")
