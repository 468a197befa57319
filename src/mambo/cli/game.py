"""`mambo game`: compares everyone's XP with the ledger, and corrects it."""

import asyncio
import sys
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import UUID

import click

from mambo.cli.options import data_dir_option

if TYPE_CHECKING:
    from mambo.database.session import Transactions
    from mambo.game.repository import Difference

BATCH = 1000


@click.group()
def game() -> None:
    """Look after XP: in DATABASE_URL, or in the embedded database."""


@game.command()
@data_dir_option
def verify(data_dir: Path) -> None:
    """Compare everyone's XP with the ledger, and fail when a total or a week differs from it.

    It is safe to run beside a server: a learner's rows are compared as they were at one moment.
    """
    from mambo.cli import services

    with services.database(data_dir) as url:
        found = asyncio.run(audit(url, is_corrected=False))
    if found:
        raise click.ClickException(f"What differs from the ledger: {found}. `mambo game rebuild` corrects it.")
    click.echo("Everyone's XP is what the ledger says.")


@game.command()
@click.option("--yes", is_flag=True, help="Do not ask.")
@data_dir_option
def rebuild(yes: bool, data_dir: Path) -> None:  # noqa: FBT001
    """Overwrite each total and week that differs from the ledger.

    It is safe to run beside a server: payments wait for a moment, and none is lost.
    """
    from mambo.cli import services

    if not yes:
        click.confirm("Totals that differ from the ledger will be overwritten. Go on?", abort=True)
    with services.database(data_dir) as url:
        click.echo(f"Corrected: {asyncio.run(audit(url, is_corrected=True))}.")


async def audit(url: str, *, is_corrected: bool) -> int:
    """Print each difference between the ledger and its projections; return how many there are."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn

    from mambo.database.session import Transactions, create_engine
    from mambo.game.repository import AuditRepository

    engine = create_engine(url, pool_size=1)
    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    console = Console(stderr=True, quiet=not sys.stderr.isatty())
    found = 0
    try:
        transactions = Transactions(engine)
        with Progress(*columns, console=console, transient=True) as progress:
            async with transactions.begin() as session:
                total = await AuditRepository(session).count_learners()
            task = progress.add_task("Comparing with the ledger", total=total)
            async for learners, differences in find_differences(transactions, is_corrected=is_corrected):
                progress.advance(task, learners)
                found += len(differences)
                for difference in differences:
                    click.echo(sentence(difference))
    finally:
        await engine.dispose()
    return found


async def find_differences(
    transactions: "Transactions", *, is_corrected: bool, batch: int = BATCH
) -> "AsyncIterator[tuple[int, list[Difference]]]":
    """Yield the number of learners in each batch, and their differences; each batch is a transaction.

    XP may be paid at the same time. A correction locks the profiles of its batch in the order of their ids, as paying
    locks one: a payment is either seen here, or added to what is written here.
    """
    from mambo.game.repository import AuditRepository

    after = UUID(int=0)
    while True:
        async with transactions.begin() as session:
            repository = AuditRepository(session)
            learners = await repository.get_batch(after, limit=batch, is_locked=is_corrected)
            differences = await repository.find_differences(learners)
            if is_corrected:
                await repository.correct(differences)
        if not learners:
            return
        yield len(learners), differences
        after = learners[-1]


def sentence(difference: "Difference") -> str:
    """Return what is stored and what the ledger says, as a sentence."""
    stored = amount(difference.xp, difference.reached_at)
    due = amount(difference.ledger_xp, difference.ledger_reached_at)
    what = "the total" if difference.week is None else f"the week of {difference.week}"
    return f"User {difference.user_id}: {what} is {stored}, and the ledger says {due}."


def amount(xp: int | None, reached_at: datetime | None) -> str:
    if xp is None:
        return "missing"
    return f"{xp} XP" + (f" since {reached_at.astimezone(UTC):%Y-%m-%dT%H:%M:%S.%fZ}" if reached_at else "")
