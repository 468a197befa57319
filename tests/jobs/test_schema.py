"""The migration installs what the installed PgQueuer expects."""

from collections.abc import Callable
from typing import Any

import asyncpg
import sqlalchemy as sa
from alembic import command as alembic
from pgqueuer.adapters.drivers.asyncpg import AsyncpgDriver

from conftest import run_alembic
from jobs.conftest import Queue
from mambo.database.statements import DIALECT
from mambo.jobs.queue import queries

BEFORE = "3f6c2a9d18b0"


async def test_pgqueuer_would_change_nothing(queue: Queue) -> None:
    """After an update of PgQueuer this shows the statements that the next migration needs."""
    _, options = DIALECT.create_connect_args(sa.make_url(queue.url))
    connection = await asyncpg.connect(**options)
    plan = await queries(AsyncpgDriver(connection)).plan_upgrade()
    await connection.close()

    assert (plan.statements, plan.notes) == ((), ())


async def test_the_migration_goes_down_and_up(make_database: Callable[[str], Any]) -> None:
    url = await make_database("jobs_down_and_up")
    await run_alembic(alembic.upgrade, url, "head")
    await run_alembic(alembic.downgrade, url, BEFORE)
    await run_alembic(alembic.upgrade, url, "head")
    await run_alembic(alembic.check, url)
