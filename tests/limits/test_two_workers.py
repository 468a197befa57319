"""Two whole apps on one PostgreSQL and one Redis: an end is heard at once, and a limit is one for both."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest
from asgi_lifespan import LifespanManager
from litestar import Litestar
from msgspec.structs import replace

from conftest import TurnableClock
from factories import School, calling
from mambo.app import create_app
from mambo.settings import Settings
from support.redis import PATIENCE_SECONDS, RedisServer

Workers = tuple[Litestar, Litestar]


@pytest.fixture
async def workers(
    settings: Settings, clock: TurnableClock, redis: RedisServer, school: School
) -> AsyncIterator[Workers]:
    """They remember people for an hour: what one knows sooner, it has heard from the other."""
    del school
    shared = replace(settings, redis_url=redis.url)
    async with AsyncExitStack() as stack:
        apps = [create_app(shared, clock=clock, runs_jobs=False, memory_seconds=3600) for _ in range(2)]
        for app in apps:
            await stack.enter_async_context(LifespanManager(app))  # type: ignore[arg-type]
        yield apps[0], apps[1]


async def test_a_logout_at_one_worker_is_heard_at_the_other(school: School, workers: Workers) -> None:
    ana = await school.person()
    here, there = (calling(worker, ana) for worker in workers)
    before = (await there.get("/api/users/me")).status_code

    await here.post("/api/auth/logout")
    async with asyncio.timeout(PATIENCE_SECONDS):
        while (await there.get("/api/users/me")).status_code != 401:
            pass

    assert before == 200


async def test_with_redis_gone_signing_out_and_in_still_work(
    school: School, workers: Workers, redis: RedisServer
) -> None:
    """The worker that is asked knows at once, and nothing fails."""
    account = {"email": "ana@example.com", "password": "back on two", "first_name": "Ana", "last_name": "Ruiz"}
    here = calling(workers[0], await school.person())
    await redis.kill()

    registered = await here.client.post("/api/auth/register", json=account)
    signed_in = await here.client.post("/api/auth/token", json={name: account[name] for name in ("email", "password")})
    logout = await here.post("/api/auth/logout")

    assert (registered.status_code, signed_in.status_code, logout.status_code) == (201, 200, 204)
    assert (await here.get("/api/users/me")).status_code == 401


async def test_wrong_passwords_at_two_workers_are_counted_together(school: School, workers: Workers) -> None:
    """By turns, for one account: ten are checked, the others are told to wait, even with the right password."""
    account = {"email": "ana@example.com", "password": "back on two", "first_name": "Ana", "last_name": "Ruiz"}
    clients = [calling(worker, await school.person()).client for worker in workers]
    await clients[0].post("/api/auth/register", json=account)
    wrong = {"email": account["email"], "password": "a wrong guess"}

    statuses = [(await clients[n % 2].post("/api/auth/token", json=wrong)).status_code for n in range(12)]
    right = await clients[1].post("/api/auth/token", json=wrong | {"password": account["password"]})

    assert statuses == [401] * 10 + [429] * 2
    assert (right.status_code, int(right.headers["retry-after"]) > 0) == (429, True)
