"""The cache of principals: what is cached, and how soon a change takes effect, here and in other workers."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from asgi_lifespan import LifespanManager
from litestar import Litestar
from msgspec.structs import replace

from conftest import TurnableClock, counted
from factories import School, calling
from mambo.app import create_app
from mambo.auth.models import AuthSession
from mambo.auth.repository import SessionRepository
from mambo.settings import Settings


@pytest.fixture
async def caching_app(settings: Settings, clock: TurnableClock, school: School) -> AsyncIterator[Litestar]:
    """Return a worker that caches principals for an hour: it sees a change earlier only if it is notified."""
    app = create_app(settings, clock=clock, runs_jobs=False, memory_seconds=3600)
    async with LifespanManager(app):  # type: ignore[arg-type]
        yield app


async def test_the_principal_of_a_session_is_read_once(school: School, caching_app: Litestar) -> None:
    ana = calling(caching_app, await school.person())
    await ana.get("/api/users/me")

    with counted(caching_app) as statements:
        await ana.get("/api/users/me")

    assert len(statements) == 1, statements


@pytest.mark.parametrize("change", [{"is_active": False}, {"role": "user"}])
async def test_a_change_of_an_account_takes_effect_at_once_in_its_worker(
    school: School, caching_app: Litestar, change: dict[str, Any]
) -> None:
    admin, other = calling(caching_app, await school.admin()), calling(caching_app, await school.admin())
    before = (await other.get("/api/admin/users")).status_code

    await admin.patch(f"/api/admin/users/{other.user_id}", change)

    assert before == 200
    assert (await other.get("/api/admin/users")).status_code == (401 if "is_active" in change else 403)


@pytest.mark.parametrize("ended_by", ["logout", "id", "all"])
async def test_the_end_of_a_session_takes_effect_at_once_in_its_worker(
    school: School, caching_app: Litestar, ended_by: str
) -> None:
    ana, admin = calling(caching_app, await school.person()), calling(caching_app, await school.admin())
    [session] = (await ana.get("/api/auth/sessions")).json()
    await ana.get("/api/users/me")

    match ended_by:
        case "logout":
            await ana.post("/api/auth/logout")
        case "id":
            await admin.delete(f"/api/auth/sessions/{session['id']}")
        case _:
            await admin.delete(f"/api/admin/users/{ana.user_id}/sessions")

    assert (await ana.get("/api/users/me")).status_code == 401


async def test_a_refused_change_leaves_the_admin_signed_in(school: School, caching_app: Litestar) -> None:
    admin = calling(caching_app, await school.admin())

    refused = await admin.patch(f"/api/admin/users/{admin.user_id}", {"is_active": False})

    assert refused.status_code == 409
    assert (await admin.get("/api/users/me")).status_code == 200


async def test_a_principal_read_during_a_change_is_not_cached(
    school: School, caching_app: Litestar, clock: TurnableClock
) -> None:
    """The row may be the one before the change."""
    ana = await school.person()
    principals = caching_app.state.resources.principals

    reading = asyncio.create_task(principals.get(ana.token, clock()))
    await asyncio.wait([reading], timeout=0)
    principals.forget(ana.user_id)
    await reading
    async with school.sessions.begin() as session:
        await SessionRepository(session).end_all(ana.user_id, clock())

    assert await principals.get(ana.token, clock()) is None


async def test_a_cached_principal_ends_with_its_session(
    school: School, caching_app: Litestar, clock: TurnableClock
) -> None:
    ana = calling(caching_app, await school.person())
    before = (await ana.get("/api/users/me")).status_code
    async with school.sessions.begin() as session:
        await session.execute(sa.update(AuthSession).values(expires_at=clock() + timedelta(hours=2)))
    caching_app.state.resources.principals.forget()
    await ana.get("/api/users/me")

    clock.turn(timedelta(hours=3))

    assert before == 200
    assert (await ana.get("/api/users/me")).status_code == 401


async def test_another_worker_notices_a_logout_when_its_cache_expires(
    school: School, settings: Settings, clock: TurnableClock
) -> None:
    """Without Redis no worker is notified; the cache expires after a second."""
    ana = await school.person()
    other = create_app(settings, clock=clock, runs_jobs=False)
    async with LifespanManager(other):  # type: ignore[arg-type]
        elsewhere = calling(other, ana)
        before = (await elsewhere.get("/api/users/me")).status_code

        await ana.post("/api/auth/logout")
        async with asyncio.timeout(5):
            while (await elsewhere.get("/api/users/me")).status_code != 401:
                pass

    assert before == 200


@pytest.mark.parametrize(("is_kept", "status"), [(True, 200), (False, 401)], ids=["kept", "removed"])
async def test_a_new_secret_key_ends_no_session_while_the_previous_key_is_kept(
    school: School, settings: Settings, clock: TurnableClock, is_kept: bool, status: int
) -> None:
    ana = await school.person()
    previous = settings.secret_key if is_kept else None
    replaced = replace(settings, secret_key="another key, as long as it has to be", secret_key_previous=previous)
    app = create_app(replaced, clock=clock, runs_jobs=False)
    async with LifespanManager(app):  # type: ignore[arg-type]
        response = await calling(app, ana).get("/api/users/me")

    assert response.status_code == status
