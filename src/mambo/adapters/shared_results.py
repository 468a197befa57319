"""Results of slow queries that are the same for everyone: computed once for all workers, and cached for a while."""

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable
from typing import TypeVar, cast

import msgspec
from cachetools import TTLCache

from mambo.adapters.cache import Cache, CacheUnavailable

MAX_RESULTS = 100
COMPUTE_SECONDS = 10.0  # longer than a statement may take

T = TypeVar("T")


class SharedResults:
    """Caches results for `seconds`: in the shared cache, or, without one or while it is down, in each worker.

    One caller computes a result, and all others wait for it, in other workers too.
    """

    def __init__(self, cache: Cache | None, *, seconds: float) -> None:
        self._cache, self._seconds = cache, seconds
        self._local: TTLCache[str, object] = TTLCache(MAX_RESULTS, seconds)
        self._locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def get(self, name: str, kind: type[T], compute: Callable[[], Awaitable[T]]) -> T:
        """Return the result of this name, which is at most `seconds` old."""
        async with self._locks[name]:
            if (local := self._local.get(name)) is not None:
                return cast("T", local)
            if self._cache is None:
                return await self._compute(name, compute)
            if (shared := await self._get_shared(self._cache, name, kind)) is not None:
                return shared
            async with self._cache.lock(name, seconds=COMPUTE_SECONDS):
                shared = await self._get_shared(self._cache, name, kind)  # another worker may have computed it by now
                return await self._compute(name, compute) if shared is None else shared

    async def _get_shared(self, cache: Cache, name: str, kind: type[T]) -> T | None:
        try:
            return msgspec.json.decode(await cache.get(name) or "null", type=kind | None)
        except (CacheUnavailable, msgspec.DecodeError):  # the latter when another version of ours has written it
            return None

    async def _compute(self, name: str, compute: Callable[[], Awaitable[T]]) -> T:
        result = self._local[name] = await compute()
        if self._cache is not None:
            await self._cache.set(name, msgspec.json.encode(result), seconds=self._seconds)
        return result
