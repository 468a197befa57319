"""Two apps with one PostgreSQL and one Redis: an ended session ends at both, and they share the limits."""

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
    """They cache principals for an hour, so that only messages can invalidate them sooner."""
    del school
    shared = replace(settings, redis_url=redis.url)
    async with AsyncExitStack() as stack:
        apps = [create_app(shared, clock=clock, runs_jobs=False, memory_seconds=3600) for _ in range(2)]
        for app in apps:
            await stack.enter_async_context(LifespanManager(app))  # type: ignore[arg-type]
        yield apps[0], apps[1]


async def test_a_logout_at_one_worker_takes_effect_at_the_other(school: School, workers: Workers) -> None:
    ana = await school.person()
    first, second = (calling(worker, ana) for worker in workers)
    before = (await second.get("/api/users/me")).status_code

    await first.post("/api/auth/logout")
    async with asyncio.timeout(PATIENCE_SECONDS):
        while (await second.get("/api/users/me")).status_code != 401:
            pass

    assert before == 200


async def test_without_redis_sign_in_and_logout_work(school: School, workers: Workers, redis: RedisServer) -> None:
    """The logout takes effect at that worker, and nothing fails."""
    account = {"email": "ana@example.com", "password": "back on two", "first_name": "Ana", "last_name": "Ruiz"}
    first = calling(workers[0], await school.person())
    await redis.kill()

    registered = await first.client.post("/api/auth/register", json=account)
    signed_in = await first.client.post("/api/auth/token", json={name: account[name] for name in ("email", "password")})
    logout = await first.post("/api/auth/logout")

    assert (registered.status_code, signed_in.status_code, logout.status_code) == (201, 200, 204)
    assert (await first.get("/api/users/me")).status_code == 401


async def test_wrong_passwords_at_two_workers_are_counted_together(school: School, workers: Workers) -> None:
    """Alternating, for one account: ten are checked and the others are 429, the right password too."""
    account = {"email": "ana@example.com", "password": "back on two", "first_name": "Ana", "last_name": "Ruiz"}
    clients = [calling(worker, await school.person()).client for worker in workers]
    await clients[0].post("/api/auth/register", json=account)
    wrong = {"email": account["email"], "password": "a wrong guess"}

    statuses = [(await clients[n % 2].post("/api/auth/token", json=wrong)).status_code for n in range(12)]
    right = await clients[1].post("/api/auth/token", json=wrong | {"password": account["password"]})

    assert statuses == [401] * 10 + [429] * 2
    assert (right.status_code, int(right.headers["retry-after"]) > 0) == (429, True)
