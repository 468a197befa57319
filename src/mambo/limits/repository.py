"""Where counts are kept: in Redis or PostgreSQL for all workers, or in this process alone.

A window is fixed and begins with the first hit: a person can be told when it ends, and one count is all there is to
keep. Times are milliseconds of Unix time, by the clock of whoever asks. An end further ahead than two windows is that
of a clock that went wrong, and ends at once.
"""

from typing import Protocol

import sqlalchemy as sa
from cachetools import LRUCache
from msgspec import Struct
from sqlalchemy.dialects.postgresql import insert

from mambo.adapters.cache import Cache, CacheUnavailable
from mambo.database.errors import DATABASE_ERRORS
from mambo.database.pool import Pool
from mambo.database.statements import Statement, param
from mambo.limits.models import RateCount
from mambo.limits.rules import Rate

KEPT = 10_000
SWEEP_MS = 300_000

TAKE = """
local count, ends = unpack(redis.call('HMGET', KEYS[1], 'count', 'ends'))
local limit, window, now = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
count, ends = tonumber(count), tonumber(ends)
if not count or not ends or ends <= now or ends > now + 2 * window then
    count, ends = 0, now + window
end
if count >= limit then
    return {0, count, ends}
end
redis.call('HSET', KEYS[1], 'count', count + 1, 'ends', ends)
redis.call('PEXPIRE', KEYS[1], ends - now)
return {1, count + 1, ends}
"""
GIVE_BACK = """
if redis.call('HGET', KEYS[1], 'ends') == ARGV[1] and redis.call('HINCRBY', KEYS[1], 'count', -1) <= 0 then
    redis.call('DEL', KEYS[1])
end
return {}
"""
CLEAR = "redis.call('DEL', KEYS[1]) return {}"


class CountResult(Struct, frozen=True):
    """Whether one more was allowed, and is counted; how many are now, in the window that ends at `ends`."""

    is_allowed: bool
    count: int
    ends: int


class CountersUnavailable(Exception):
    """The counts cannot be reached."""


class Counters(Protocol):
    """Counts that workers share; each call is atomic, and may raise CountsDown."""

    async def take(self, key: str, rate: Rate, now: int) -> CountResult:
        """Count one more, if the limit allows it."""
        ...

    async def give_back(self, key: str, ends: int) -> None:
        """Count one less, if its window is still the one that ends then."""
        ...

    async def clear(self, key: str) -> None: ...


class RedisCounters:
    """Each key a hash that expires with its window."""

    def __init__(self, cache: Cache) -> None:
        self._cache = cache

    async def take(self, key: str, rate: Rate, now: int) -> CountResult:
        is_allowed, count, ends = await self._run(TAKE, key, rate.limit, rate.seconds * 1000, now)
        return CountResult(bool(is_allowed), count, ends)

    async def give_back(self, key: str, ends: int) -> None:
        await self._run(GIVE_BACK, key, ends)

    async def clear(self, key: str) -> None:
        await self._run(CLEAR, key)

    async def _run(self, script: str, key: str, *arguments: int) -> list[int]:
        try:
            return await self._cache.run(script, f"limit:{key}", *arguments)
        except CacheUnavailable as error:
            raise CountersUnavailable from error


NOW, WINDOW = param("now", sa.BigInteger()), param("window", sa.BigInteger())
KEY, ENDS = param("key", sa.Text()), param("ends", sa.BigInteger())
IS_OVER = sa.or_(RateCount.ends_at <= NOW, RateCount.ends_at > NOW + 2 * WINDOW)
TAKE_ONE = Statement(
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
COUNTED = Statement(sa.select(RateCount.count, RateCount.ends_at).where(RateCount.key == KEY))
GIVE_ONE_BACK = Statement(
    sa.update(RateCount)
    .where(RateCount.key == KEY, RateCount.ends_at == ENDS, RateCount.count > 0)
    .values(count=RateCount.count - 1)
)
FORGET = Statement(sa.delete(RateCount).where(RateCount.key == KEY))
# Rows whose window is over, save those that someone is at.
SWEEP = Statement(
    sa.delete(RateCount).where(
        RateCount.key.in_(
            sa.select(RateCount.key).where(RateCount.ends_at <= NOW).with_for_update(skip_locked=True).scalar_subquery()
        )
    )
)


class PostgresCounters:
    """Each key a row; single statements, so that no connection is held and none waits for a request's transaction."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._swept_at = 0

    async def take(self, key: str, rate: Rate, now: int) -> CountResult:
        if now - self._swept_at > SWEEP_MS:
            self._swept_at = now
            await self._one(SWEEP, now=now)
        if counted := await self._one(TAKE_ONE, key=key, now=now, window=rate.seconds * 1000, limit=rate.limit):
            return CountResult(True, *counted)
        # Someone may have given one back, or cleared it, in between: then a moment is all there is to wait.
        count, ends = await self._one(COUNTED, key=key) or (rate.limit, now)
        return CountResult(False, count, ends)

    async def give_back(self, key: str, ends: int) -> None:
        await self._one(GIVE_ONE_BACK, key=key, ends=ends)

    async def clear(self, key: str) -> None:
        await self._one(FORGET, key=key)

    async def _one(self, statement: Statement, **values: str | int) -> tuple[int, int] | None:
        try:
            row: tuple[int, int] | None = await self._pool.fetch_one(statement, **values)
        except DATABASE_ERRORS as error:
            raise CountersUnavailable from error
        return row


class LocalCounters:
    """The 10 000 counts that this process used last; what it saw of the shared ones, should those be gone."""

    def __init__(self) -> None:
        self._kept: LRUCache[str, tuple[int, int]] = LRUCache(KEPT)

    def note(self, key: str, taken: CountResult) -> None:
        self._kept[key] = (taken.count, taken.ends)

    def take(self, key: str, rate: Rate, now: int) -> CountResult:
        window = rate.seconds * 1000
        count, ends = self._kept.get(key, (0, 0))
        if not now < ends <= now + 2 * window:
            count, ends = 0, now + window
        is_allowed = count < rate.limit
        self._kept[key] = (count + is_allowed, ends)
        return CountResult(is_allowed, count + is_allowed, ends)

    def give_back(self, key: str, ends: int) -> None:
        count, same = self._kept.get(key, (0, 0))
        if same == ends and count > 0:
            self._kept[key] = (count - 1, ends)

    def clear(self, key: str) -> None:
        self._kept.pop(key, None)
