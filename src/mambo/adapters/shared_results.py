"""Answers that take long to find and are the same for everyone: found once for all workers, and kept for a while."""

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable
from typing import TypeVar, cast

import msgspec
from cachetools import TTLCache

from mambo.adapters.cache import Cache, CacheUnavailable

MOST = 100
FINDING_SECONDS = 10.0  # longer than a statement may take

T = TypeVar("T")


class SharedResults:
    """Keeps answers for `seconds`: in the cache where there is one, and while it is down each worker its own.

    One caller finds an answer, and who asks meanwhile waits for it. What is not for everyone does not belong here.
    """

    def __init__(self, cache: Cache | None, *, seconds: float) -> None:
        self._cache, self._seconds = cache, seconds
        self._own: TTLCache[str, object] = TTLCache(MOST, seconds)
        self._finding: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def get(self, name: str, kind: type[T], find: Callable[[], Awaitable[T]]) -> T:
        """The answer of that name, at most `seconds` old."""
        async with self._finding[name]:
            if (own := self._own.get(name)) is not None:
                return cast("T", own)
            if self._cache is None:
                return await self._find(name, find)
            if (shared := await self._get_shared(self._cache, name, kind)) is not None:
                return shared
            async with self._cache.alone(name, seconds=FINDING_SECONDS):
                shared = await self._get_shared(self._cache, name, kind)  # another worker may have found it meanwhile
                return await self._find(name, find) if shared is None else shared

    async def _get_shared(self, cache: Cache, name: str, kind: type[T]) -> T | None:
        try:
            return msgspec.json.decode(await cache.get(name) or "null", type=kind | None)
        except (CacheUnavailable, msgspec.DecodeError):  # the latter of another version of ours
            return None

    async def _find(self, name: str, find: Callable[[], Awaitable[T]]) -> T:
        found = self._own[name] = await find()
        if self._cache is not None:
            await self._cache.put(name, msgspec.json.encode(found), seconds=self._seconds)
        return found
