"""Counters that all workers share, in Redis.

A window is fixed and begins with its first count: a client learns when it ends, and one number is all there is to
store. Times are milliseconds of Unix time by the caller's clock. A window that ends later than two windows from now was
written by a clock that was wrong, and counts as over.
"""

from typing import Protocol

from msgspec import Struct

from mambo.adapters.cache import Cache, CacheUnavailable

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
    """Whether one more was allowed and counted, and the count of the window that ends at `ends`."""

    is_allowed: bool
    count: int
    ends: int


class CountersUnavailable(Exception):
    """The counters cannot be reached."""


class Counters(Protocol):
    """Counters that workers share. Each call is atomic, and may raise CountersUnavailable."""

    async def take(self, key: str, *, limit: int, window: int, now: int) -> CountResult:
        """Count one more, if that is within the limit."""
        ...

    async def give_back(self, key: str, ends: int) -> None:
        """Count one less, if the current window is the one that ends at `ends`."""
        ...

    async def clear(self, key: str) -> None:
        """Set the count to zero."""
        ...


class RedisCounters:
    """Counters in Redis: each is a hash that expires with its window."""

    def __init__(self, cache: Cache) -> None:
        self._cache = cache

    async def take(self, key: str, *, limit: int, window: int, now: int) -> CountResult:
        is_allowed, count, ends = await self._run(TAKE, key, limit, window, now)
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
