"""Waits until transactions wait for locks."""

import asyncio

import sqlalchemy as sa

from factories import School


async def wait_for_waiters(school: School, number: int) -> None:
    """Return once this number of transactions wait for a lock."""
    waiters = sa.select(sa.func.count(sa.column("pid").distinct())).select_from(sa.table("pg_locks"))
    async with asyncio.timeout(30):
        while await school.scalar(waiters.where(~sa.column("granted", sa.Boolean()))) < number:
            pass
