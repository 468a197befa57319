"""A process that hits a limit of ten: a hundred times concurrently for each key on standard input."""

import asyncio
import sys
from datetime import UTC, datetime

from mambo.adapters.cache import RedisCache
from mambo.adapters.counters import Counters, RedisCounters
from mambo.database.pool import Pool
from mambo.errors import TooMany
from mambo.limits.repository import PostgresCounters
from mambo.limits.rules import SIGN_IN_ALL, rates
from mambo.limits.service import RateLimiter
from mambo.web.request_log import configure_logging


async def hammer(counters: Counters) -> None:
    limiter = RateLimiter(
        counters, rates({"LIMIT_SIGN_IN_ALL": "10/hour"}), lambda: datetime.now(UTC), lifts_loopback=False
    )

    async def passes(name: str) -> bool:
        try:
            await limiter.hit(SIGN_IN_ALL, name)
        except TooMany:
            return False
        return True

    await asyncio.gather(*(passes("warm up") for _ in range(100)))
    print("ready", flush=True)  # noqa: T201
    while name := await asyncio.to_thread(sys.stdin.readline):
        print(sum(await asyncio.gather(*(passes(name) for _ in range(100)))), flush=True)  # noqa: T201


async def main(kind: str, url: str) -> None:
    configure_logging(is_production=True)  # to standard error
    if kind == "redis":
        async with RedisCache(url).opened() as cache:
            await hammer(RedisCounters(cache))
    else:
        async with Pool(url, size=10).opened() as pool:
            await hammer(PostgresCounters(pool))


asyncio.run(main(*sys.argv[1:]))
