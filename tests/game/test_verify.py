"""`mambo game verify` and `rebuild`: what differs from the ledger is reported and corrected, also during payments."""

import asyncio
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import sqlalchemy as sa
from alembic import command as alembic
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, create_async_engine

from conftest import START, run_alembic
from factories import School
from mambo.cli.game import BATCH, find_differences
from mambo.database.session import Transactions
from mambo.game.models import XpKind
from mambo.game.repository import Difference, LedgerRepository
from mambo.users.repository import ProfileRepository
from support.ledger import MONDAY, get_total, get_weeks, pay
from support.processes import Finished, mambo, query

WRONG = {
    "a total": "UPDATE user_profile SET xp = 70",
    "since when": "UPDATE user_profile SET xp_reached_at = NULL",
    "a week": "UPDATE weekly_xp SET xp = 70",
    "since when in a week": "UPDATE weekly_xp SET reached_at = reached_at + interval '1 microsecond'",
    "a missing week": "DELETE FROM weekly_xp",
    "a week without payments": "INSERT INTO weekly_xp SELECT user_id, week + 7, 0, reached_at FROM weekly_xp",
}


async def execute(engine: AsyncEngine, statement: str) -> None:
    async with engine.begin() as connection:
        await connection.execute(sa.text(statement))


async def all_differences(engine: AsyncEngine, *, is_corrected: bool = False, batch: int = BATCH) -> list[Difference]:
    batches = find_differences(Transactions(engine), is_corrected=is_corrected, batch=batch)
    return [difference async for _, differences in batches for difference in differences]


async def run(command: str, *options: str, url: str, folder: Path) -> Finished:
    return await mambo("game", command, *options, folder=folder, environ={"DATABASE_URL": url})


@pytest.mark.parametrize("statement", WRONG.values(), ids=WRONG)
async def test_a_difference_is_found_and_corrected(school: School, engine: AsyncEngine, statement: str) -> None:
    """Correcting it restores the rows as they were."""
    ana = await school.person()
    await pay(school, ana, 50, MONDAY)
    before = await get_total(school, ana), await get_weeks(school, ana)
    await execute(engine, statement)

    found = await all_differences(engine)
    corrected = await all_differences(engine, is_corrected=True)

    assert len(found) == 1
    assert corrected == found
    assert await all_differences(engine) == []
    assert (await get_total(school, ana), await get_weeks(school, ana)) == before


async def test_all_learners_are_compared_in_batches(school: School, engine: AsyncEngine) -> None:
    """The last batch is not full."""
    people = [await school.person(xp=10) for _ in range(5)]

    found = await all_differences(engine, batch=2)

    assert [one.user_id for one in found] == [someone.user_id for someone in people]


async def test_a_payment_during_a_rebuild_is_not_lost(school: School, engine: AsyncEngine) -> None:
    """The rebuild waits for the payment to commit before it reads the ledger."""
    ana = await school.person(xp=10)
    async with AsyncSession(engine) as payer, payer.begin():
        await LedgerRepository(payer).pay(ana.user_id, XpKind.LESSON, uuid4(), 50, START)
        rebuilding = asyncio.create_task(all_differences(engine, is_corrected=True))
        await wait_for_a_lock(payer, rebuilding)

    [corrected] = await rebuilding

    assert (corrected.xp, corrected.ledger_xp) == (60, 50)
    assert (await get_total(school, ana))[0] == 50
    await school.check_xp()


async def test_concurrent_payments_and_rebuilds_add_up(school: School, engine: AsyncEngine) -> None:
    people = [await school.person(xp=10) for _ in range(5)]

    async def pay_everyone() -> None:
        for hours in range(10):
            for someone in people:
                await pay(school, someone, 7, START + timedelta(hours=hours))

    async def rebuild_often() -> None:
        for _ in range(5):
            await all_differences(engine, is_corrected=True, batch=2)

    await asyncio.gather(pay_everyone(), pay_everyone(), rebuild_often(), rebuild_often())

    await school.check_xp()
    assert {(await get_total(school, someone))[0] for someone in people} == {2 * 10 * 7}


async def wait_for_a_lock(session: AsyncSession, task: asyncio.Task[Any]) -> None:
    """Wait until the task waits for a lock that the session's transaction holds."""
    while not await session.scalar(sa.text("SELECT count(*) FROM pg_locks WHERE NOT granted")):
        assert not task.done()


async def test_the_transaction_that_locks_the_profile_pays_first(school: School, engine: AsyncEngine) -> None:
    """A payment that waits for the profile holds no lock in the ledger, so there is no deadlock."""
    ana, source_id = await school.person(), uuid4()
    async with AsyncSession(engine) as holder, holder.begin():
        await ProfileRepository(holder).lock(ana.user_id)
        other = asyncio.create_task(pay(school, ana, 50, source_id=source_id))
        await wait_for_a_lock(holder, other)

        paid = await LedgerRepository(holder).pay(ana.user_id, XpKind.LESSON, source_id, 50, START)

    assert (paid.is_paid, await other) == (True, False)
    await school.check_xp()


async def test_verify_prints_each_difference_and_fails(
    school: School, engine: AsyncEngine, database_url: str, tmp_path: Path
) -> None:
    ana = await school.person()
    await pay(school, ana, 50, MONDAY)
    await execute(engine, "UPDATE user_profile SET xp = 70")

    end = await run("verify", url=database_url, folder=tmp_path)

    since = "since 2026-03-02T00:00:00.000000Z"
    assert end.code == 1
    assert end.out == f"User {ana.user_id}: the total is 70 XP {since}, and the ledger says 50 XP {since}.\n"
    assert end.err == "Error: What differs from the ledger: 1. `mambo game rebuild` corrects it.\n"


async def test_rebuild_corrects_after_confirmation(
    school: School, engine: AsyncEngine, database_url: str, tmp_path: Path
) -> None:
    """Without a terminal there is no confirmation; `--yes` replaces it."""
    ana = await school.person()
    await pay(school, ana, 50, MONDAY)
    await execute(engine, "DELETE FROM weekly_xp")

    unconfirmed = await run("rebuild", url=database_url, folder=tmp_path)
    rebuilt = await run("rebuild", "--yes", url=database_url, folder=tmp_path)
    verified = await run("verify", url=database_url, folder=tmp_path)

    assert (unconfirmed.code, "Aborted!" in unconfirmed.err) == (1, True)
    assert (rebuilt.code, rebuilt.out.splitlines()[-1]) == (0, "Corrected: 1.")
    assert (verified.code, verified.out, verified.err) == (0, "Everyone's XP is what the ledger says.\n", "")


EARNED = """
    INSERT INTO users (id, email, password_hash, first_name, last_name, role, is_active)
    SELECT gen_random_uuid(), 'p' || n || '@example.com', '-', 'Ana', 'Ruiz', 'user', true FROM generate_series(0, 5) n;
    INSERT INTO xp_event (id, user_id, kind, source_id, amount, at)
    SELECT gen_random_uuid(), id, 'lesson', gen_random_uuid(), n,
           '2026-03-02T00:00:00Z'::timestamptz - n * interval '27 hours'
    FROM users, generate_series(0, 30) n WHERE email <> 'p0@example.com';
    INSERT INTO user_profile (user_id, xp, timezone, show_on_leaderboard)
    SELECT id, coalesce((SELECT sum(amount) FROM xp_event WHERE user_id = users.id), 0), 'UTC', true FROM users
"""


async def test_the_migration_computes_totals_and_weeks_from_the_ledger(
    make_database: Callable[[str], Any], tmp_path: Path
) -> None:
    """For existing learners, with XP of several weeks and without any."""
    url = await make_database("with_existing_learners")
    await run_alembic(alembic.upgrade, url, "8e3a61d0c5f2")
    await run_alembic(alembic.downgrade, url, "-1")
    engine = create_async_engine(url)
    for statement in EARNED.split(";"):
        await execute(engine, statement)
    await engine.dispose()

    await run_alembic(alembic.upgrade, url, "head")

    verified = await run("verify", url=url, folder=tmp_path)
    assert (verified.code, verified.out) == (0, "Everyone's XP is what the ledger says.\n")
    [(weeks,)] = await query(url, "SELECT count(*) FROM weekly_xp")
    assert weeks > 5 * 4
