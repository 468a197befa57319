"""A process of its own that hits a limit of ten: for each key on standard input a hundred times at once."""

import asyncio
import sys
from datetime import UTC, datetime

from mambo.adapters.cache import open_redis
from mambo.db import open_pool
from mambo.errors import TooMany
from mambo.limits.repository import Counts, PostgresCounts, RedisCounts
from mambo.limits.rules import SIGN_IN_ALL, rates
from mambo.limits.service import Limits
from mambo.logs import configure_logging


async def hammer(counts: Counts) -> None:
    limits = Limits(counts, rates({"LIMIT_SIGN_IN_ALL": "10/hour"}), lambda: datetime.now(UTC), lifts_loopback=False)

    async def passes(name: str) -> bool:
        try:
            await limits.hit(SIGN_IN_ALL, name)
        except TooMany:
            return False
        return True

    await asyncio.gather(*(passes("the first connects") for _ in range(100)))
    print("ready", flush=True)  # noqa: T201
    while name := await asyncio.to_thread(sys.stdin.readline):
        print(sum(await asyncio.gather(*(passes(name) for _ in range(100)))), flush=True)  # noqa: T201


async def main(kind: str, url: str) -> None:
    configure_logging(is_production=True)  # to standard error
    if kind == "redis":
        async with open_redis(url) as cache:
            await hammer(RedisCounts(cache))
    else:
        async with open_pool(url, size=10) as pool:
            await hammer(PostgresCounts(pool))


asyncio.run(main(*sys.argv[1:]))
