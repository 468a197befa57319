"""Counters in PostgreSQL, for workers without Redis; `adapters.counters` describes windows."""

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from mambo.adapters.counters import CountersUnavailable, CountResult
from mambo.database.errors import DATABASE_ERRORS
from mambo.database.pool import Pool
from mambo.database.statements import Statement, param
from mambo.limits.models import RateCount

SWEEP_MS = 300_000

NOW, WINDOW = param("now", sa.BigInteger()), param("window", sa.BigInteger())
KEY, ENDS = param("key", sa.Text()), param("ends", sa.BigInteger())
IS_OVER = sa.or_(RateCount.ends_at <= NOW, RateCount.ends_at > NOW + 2 * WINDOW)
TAKE = Statement(
    insert(RateCount)
    .values(key=KEY, count=1, ends_at=NOW + WINDOW)
    .on_conflict_do_update(
        index_elements=[RateCount.key],
        set_={
            "count": sa.case((IS_OVER, 1), else_=RateCount.count + 1),
            "ends_at": sa.case((IS_OVER, NOW + WINDOW), else_=RateCount.ends_at),
        },
        where=sa.or_(IS_OVER, RateCount.count < param("limit", sa.Integer())),
    )
    .returning(RateCount.count, RateCount.ends_at)
)
CURRENT = Statement(sa.select(RateCount.count, RateCount.ends_at).where(RateCount.key == KEY))
GIVE_BACK = Statement(
    sa.update(RateCount)
    .where(RateCount.key == KEY, RateCount.ends_at == ENDS, RateCount.count > 0)
    .values(count=RateCount.count - 1)
)
CLEAR = Statement(sa.delete(RateCount).where(RateCount.key == KEY))
# Rows whose window is over. Rows that another transaction has locked are left for the next sweep.
SWEEP = Statement(
    sa.delete(RateCount).where(
        RateCount.key.in_(
            sa.select(RateCount.key).where(RateCount.ends_at <= NOW).with_for_update(skip_locked=True).scalar_subquery()
        )
    )
)


class PostgresCounters:
    """Counters in PostgreSQL: each is a row, changed by single statements outside the request's transaction."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._swept_at = 0

    async def take(self, key: str, *, limit: int, window: int, now: int) -> CountResult:
        if now - self._swept_at > SWEEP_MS:
            self._swept_at = now
            await self._one(SWEEP, now=now)
        if row := await self._one(TAKE, key=key, now=now, window=window, limit=limit):
            return CountResult(True, *row)
        # The row may have been deleted since the first statement: then the caller can try again at once.
        count, ends = await self._one(CURRENT, key=key) or (limit, now)
        return CountResult(False, count, ends)

    async def give_back(self, key: str, ends: int) -> None:
        await self._one(GIVE_BACK, key=key, ends=ends)

    async def clear(self, key: str) -> None:
        await self._one(CLEAR, key=key)

    async def _one(self, statement: Statement, **values: str | int) -> tuple[int, int] | None:
        try:
            row: tuple[int, int] | None = await self._pool.fetch_one(statement, **values)
        except DATABASE_ERRORS as error:
            raise CountersUnavailable from error
        return row
