"""`mambo game verify` and `mambo game rebuild`: whether everyone's XP is what the ledger says, and making it so."""

import asyncio
import sys
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from uuid import UUID

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker

from mambo.database.session import create_engine
from mambo.game.repository import AuditRepository, Difference

BATCH = 1000


def verify(url: str) -> int:
    """Print how each learner's totals differ from the ledger; the number of differences."""
    return asyncio.run(work(url, is_rebuilt=False))


def rebuild(url: str) -> int:
    """Write what the ledger says wherever it is not so, and print what was there; the number of corrections."""
    return asyncio.run(work(url, is_rebuilt=True))


async def work(url: str, *, is_rebuilt: bool) -> int:
    engine = create_engine(url, pool_size=1)
    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    console = Console(stderr=True, quiet=not sys.stderr.isatty())
    found = 0
    try:
        sessions = async_sessionmaker(engine, expire_on_commit=False)
        with Progress(*columns, console=console, transient=True) as progress:
            async with sessions() as session:
                total = await AuditRepository(session).count_learners()
            task = progress.add_task("Comparing with the ledger", total=total)
            async for learners, wrong in differences(sessions, is_rebuilt=is_rebuilt):
                progress.advance(task, learners)
                found += len(wrong)
                for difference in wrong:
                    click.echo(sentence(difference))
    finally:
        await engine.dispose()
    return found


async def differences(
    sessions: async_sessionmaker[AsyncSession], *, is_rebuilt: bool, batch: int = BATCH
) -> AsyncIterator[tuple[int, list[Difference]]]:
    """Go through all learners, a batch in a transaction of its own: how many there were, and what differed.

    It may run while XP is paid. To rebuild it locks the batch's profiles, in the order of their ids, as `pay` locks
    the one that it pays: a payment is either seen here, or made on top of what is written here.
    """
    after = UUID(int=0)
    while True:
        async with sessions.begin() as session:
            audit = AuditRepository(session)
            learners = await audit.get_batch(after, limit=batch, is_locked=is_rebuilt)
            wrong = await audit.find_differences(learners)
            if is_rebuilt:
                await audit.correct(wrong)
        if not learners:
            return
        yield len(learners), wrong
        after = learners[-1]


def sentence(difference: Difference) -> str:
    """What is stored, and what the ledger says."""
    stored = amount(difference.xp, difference.reached_at)
    due = amount(difference.ledger_xp, difference.ledger_reached_at)
    what = "the total" if difference.week is None else f"the week of {difference.week}"
    return f"User {difference.user_id}: {what} is {stored}, and the ledger says {due}."


def amount(xp: int | None, reached_at: datetime | None) -> str:
    if xp is None:
        return "missing"
    return f"{xp} XP" + (f" since {reached_at.astimezone(UTC):%Y-%m-%dT%H:%M:%S.%fZ}" if reached_at else "")
