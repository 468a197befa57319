"""Sessions: seen and ended by their owner; what ends one ends it at once here, and within a second elsewhere."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any
from uuid import uuid4

import httpx
import pytest
import sqlalchemy as sa
from argon2 import PasswordHasher
from asgi_lifespan import LifespanManager
from litestar import Litestar
from msgspec.structs import replace

from conftest import TurnableClock, counted
from factories import Caller, School
from mambo.app import create_app
from mambo.auth.models import AuthSession
from mambo.auth.passwords import HASHER
from mambo.auth.repository import SessionRepository
from mambo.auth.rules import MAX_SESSIONS
from mambo.settings import Settings
from mambo.users.models import User

CHEAPER = PasswordHasher(memory_cost=1024, time_cost=1, parallelism=1)
ANA = {"email": "ana@example.com", "password": "back on two", "first_name": "Ana", "last_name": "Ruiz"}


async def sign_in(client: httpx.AsyncClient, agent: str = "test", **changes: str) -> dict[str, Any]:
    credentials = {"email": ANA["email"], "password": ANA["password"]} | changes
    response = await client.post("/api/auth/token", json=credentials, headers={"User-Agent": agent})
    assert response.status_code == 200, response.text
    token: dict[str, Any] = response.json()
    return token


def bearer(token: dict[str, Any]) -> dict[str, str]:
    return {"Authorization": f"Bearer {token['access_token']}"}


async def status_of(client: httpx.AsyncClient, token: dict[str, Any]) -> int:
    return (await client.get("/api/users/me", headers=bearer(token))).status_code


@pytest.fixture
async def ana(school: School, client: httpx.AsyncClient) -> dict[str, Any]:
    """Ana's first sign-in."""
    response = await client.post("/api/auth/register", json=ANA, headers={"User-Agent": "phone"})
    token: dict[str, Any] = response.json()
    return token


# Seeing them


async def test_a_person_sees_their_sessions_the_last_seen_first(
    school: School, ana: dict[str, Any], client: httpx.AsyncClient, clock: TurnableClock
) -> None:
    """And nobody else's."""
    await school.person()
    clock.turn(timedelta(hours=1))
    laptop = await sign_in(client, "laptop")

    sessions = (await client.get("/api/auth/sessions", headers=bearer(laptop))).json()

    assert [(one["device"], one["current"]) for one in sessions] == [("laptop", True), ("phone", False)]
    assert sessions[0].keys() == {"id", "device", "last_seen_at", "created_at", "current"}
    assert sessions[0]["last_seen_at"] == "2026-03-02T13:00:00Z"


async def test_a_session_that_is_used_was_seen_to_the_five_minutes(
    ana: dict[str, Any], client: httpx.AsyncClient, clock: TurnableClock
) -> None:
    seen = []
    for minutes in (4, 2, 4):
        clock.turn(timedelta(minutes=minutes))
        [one] = (await client.get("/api/auth/sessions", headers=bearer(ana))).json()
        seen.append(one["last_seen_at"])

    assert seen == ["2026-03-02T12:00:00Z", "2026-03-02T12:06:00Z", "2026-03-02T12:06:00Z"]


async def test_the_eleventh_sign_in_ends_the_session_that_was_not_seen_for_longest(
    ana: dict[str, Any], client: httpx.AsyncClient, clock: TurnableClock
) -> None:
    tokens = [ana]
    for _ in range(MAX_SESSIONS):
        clock.turn(timedelta(minutes=1))
        tokens.append(await sign_in(client))

    statuses = [await status_of(client, token) for token in tokens]

    assert statuses == [401] + [200] * MAX_SESSIONS


# Ending them


async def test_logging_out_ends_this_session_and_no_other(ana: dict[str, Any], client: httpx.AsyncClient) -> None:
    other = await sign_in(client)

    response = await client.post("/api/auth/logout", headers=bearer(ana))

    assert (response.status_code, response.content) == (204, b"")
    assert (await status_of(client, ana), await status_of(client, other)) == (401, 200)
    refresh = await client.post("/api/auth/refresh", json={"refresh_token": ana["refresh_token"]})
    assert refresh.status_code == 401


async def test_a_person_ends_one_of_their_sessions(ana: dict[str, Any], client: httpx.AsyncClient) -> None:
    other = await sign_in(client)
    sessions = (await client.get("/api/auth/sessions", headers=bearer(ana))).json()
    [its_id] = [one["id"] for one in sessions if not one["current"]]

    first = await client.delete(f"/api/auth/sessions/{its_id}", headers=bearer(ana))
    again = await client.delete(f"/api/auth/sessions/{its_id}", headers=bearer(ana))

    assert (first.status_code, again.status_code) == (204, 404)
    assert (await status_of(client, ana), await status_of(client, other)) == (200, 401)


async def test_someone_elses_session_looks_like_none(
    school: School, ana: dict[str, Any], client: httpx.AsyncClient
) -> None:
    ben = await school.person()
    [session] = (await client.get("/api/auth/sessions", headers=bearer(ana))).json()

    hers = await ben.delete(f"/api/auth/sessions/{session['id']}")
    nobodys = await ben.delete(f"/api/auth/sessions/{uuid4()}")

    assert hers.status_code == nobodys.status_code == 404
    assert hers.json() | {"request_id": ""} == nobodys.json() | {"request_id": ""}
    assert await status_of(client, ana) == 200


async def test_an_admin_ends_anyones_sessions(school: School, ana: dict[str, Any], client: httpx.AsyncClient) -> None:
    admin = await school.admin()
    other = await sign_in(client)
    me = (await client.get("/api/users/me", headers=bearer(ana))).json()
    sessions = (await admin.get(f"/api/admin/users/{me['id']}/sessions")).json()

    one = await admin.delete(f"/api/auth/sessions/{sessions[0]['id']}")
    after_one = {await status_of(client, ana), await status_of(client, other)}
    everything = await admin.delete(f"/api/admin/users/{me['id']}/sessions")

    assert (len(sessions), one.status_code, everything.status_code) == (2, 204, 204)
    assert after_one == {200, 401}
    assert {await status_of(client, ana), await status_of(client, other)} == {401}
    assert (await admin.get("/api/users/me")).status_code == 200


async def test_a_disabled_person_is_signed_out_and_stays_so_when_enabled_again(
    school: School, ana: dict[str, Any], client: httpx.AsyncClient
) -> None:
    admin = await school.admin()
    me = (await client.get("/api/users/me", headers=bearer(ana))).json()

    await admin.patch(f"/api/admin/users/{me['id']}", {"is_active": False})
    disabled = await status_of(client, ana)
    await admin.patch(f"/api/admin/users/{me['id']}", {"is_active": True})

    assert (disabled, await status_of(client, ana)) == (401, 401)
    await sign_in(client)


# Passwords


async def test_a_new_password_ends_every_other_session(ana: dict[str, Any], client: httpx.AsyncClient) -> None:
    others = [await sign_in(client) for _ in range(3)]

    body = {"current_password": ANA["password"], "new_password": "forward on six"}
    response = await client.post("/api/auth/password", json=body, headers=bearer(ana))

    assert response.status_code == 204
    assert await status_of(client, ana) == 200
    assert [await status_of(client, other) for other in others] == [401] * 3
    await sign_in(client, password="forward on six")
    old = await client.post("/api/auth/token", json={"email": ANA["email"], "password": ANA["password"]})
    assert old.status_code == 401


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"current_password": "wrong one"}, "current_password"),
        ({"new_password": "short"}, "new_password"),
        ({"new_password": "password123"}, "new_password"),
        ({"new_password": "x" * 129}, "new_password"),
    ],
)
async def test_a_password_that_cannot_be_changed_so_stays(
    school: School, ana: dict[str, Any], client: httpx.AsyncClient, change: dict[str, str], field: str
) -> None:
    other = await sign_in(client)
    before = await school.scalar(sa.select(User.password_hash))

    body = {"current_password": ANA["password"], "new_password": "forward on six"} | change
    response = await client.post("/api/auth/password", json=body, headers=bearer(ana))

    assert response.status_code == 422
    assert [problem["field"] for problem in response.json()["errors"]] == [field]
    assert await school.scalar(sa.select(User.password_hash)) == before
    assert await status_of(client, other) == 200


async def test_a_sign_in_beside_a_change_of_the_password_does_not_outlive_it(
    ana: dict[str, Any], client: httpx.AsyncClient
) -> None:
    """Whichever was first: nobody who knew the old password alone is signed in afterwards."""
    for number in range(5):
        old, new = (ANA["password"] if number == 0 else f"password no {number}"), f"password no {number + 1}"
        body = {"current_password": old, "new_password": new}
        signing_in = [client.post("/api/auth/token", json={"email": ANA["email"], "password": old}) for _ in range(8)]

        changed, *signed_in = await asyncio.gather(
            client.post("/api/auth/password", json=body, headers=bearer(ana)), *signing_in
        )

        tokens = [response.json() for response in signed_in if response.status_code == 200]
        assert changed.status_code == 204
        assert [await status_of(client, token) for token in tokens] == [401] * len(tokens)


@pytest.mark.parametrize("stored", [HASHER, CHEAPER], ids=["a hash that stays", "a hash to renew"])
async def test_a_sign_in_whose_password_is_changed_before_it_counts_does_not_outlive_it(
    school: School, client: httpx.AsyncClient, clock: TurnableClock, stored: PasswordHasher
) -> None:
    """Its password was checked and right; as it comes to the account, someone else is changing it."""
    ana = await school.person(email=ANA["email"], password_hash=stored.hash(ANA["password"]))
    waiting = sa.select(sa.func.count()).select_from(sa.table("pg_locks")).where(sa.text("NOT granted"))
    live = sa.select(sa.func.count()).select_from(AuthSession).where(AuthSession.revoked_at.is_(None))

    async with school.sessions.begin() as session:
        account = (await session.scalars(sa.select(User).with_for_update())).one()
        credentials = {"email": ANA["email"], "password": ANA["password"]}
        signing_in = asyncio.create_task(client.post("/api/auth/token", json=credentials))
        while await school.scalar(waiting) == 0:
            assert not signing_in.done()
        account.password_hash = HASHER.hash("forward on six")
        await session.flush()
        await SessionRepository(session).end_all(ana.user_id, clock())
    response = await signing_in

    assert response.status_code == 401
    assert await school.scalar(live) == 0


# What is remembered


@pytest.fixture
async def remembering(settings: Settings, clock: TurnableClock, school: School) -> AsyncIterator[Litestar]:
    """A worker that remembers people for an hour: whatever it sees sooner, it was told."""
    app = create_app(settings, clock=clock, upkeep_seconds=None, memory_seconds=3600)
    async with LifespanManager(app):  # type: ignore[arg-type]
        yield app


def calling(app: Litestar, caller: Caller) -> Caller:
    """The same person, at another worker."""
    transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)  # type: ignore[arg-type]
    client = httpx.AsyncClient(transport=transport, base_url="http://test")
    return Caller(client, caller.user_id, caller.email, caller.token)


async def test_a_burst_of_requests_asks_once_who_it_is(school: School, remembering: Litestar) -> None:
    ana = calling(remembering, await school.person())
    await ana.get("/api/users/me")

    with counted(remembering) as statements:
        await ana.get("/api/users/me")

    assert len(statements) == 1, statements


@pytest.mark.parametrize("change", [{"is_active": False}, {"role": "user"}])
async def test_a_change_of_an_account_bites_at_once_where_it_is_made(
    school: School, remembering: Litestar, change: dict[str, Any]
) -> None:
    boss, other = calling(remembering, await school.admin()), calling(remembering, await school.admin())
    before = (await other.get("/api/admin/users")).status_code

    await boss.patch(f"/api/admin/users/{other.user_id}", change)

    assert before == 200
    assert (await other.get("/api/admin/users")).status_code == (401 if "is_active" in change else 403)


@pytest.mark.parametrize("way", ["logout", "end", "all"])
async def test_ending_a_session_bites_at_once_where_it_is_ended(
    school: School, remembering: Litestar, way: str
) -> None:
    ana, admin = calling(remembering, await school.person()), calling(remembering, await school.admin())
    [session] = (await ana.get("/api/auth/sessions")).json()
    await ana.get("/api/users/me")

    match way:
        case "logout":
            await ana.post("/api/auth/logout")
        case "end":
            await admin.delete(f"/api/auth/sessions/{session['id']}")
        case _:
            await admin.delete(f"/api/admin/users/{ana.user_id}/sessions")

    assert (await ana.get("/api/users/me")).status_code == 401


async def test_a_change_that_fails_forgets_nobody_and_ends_nothing(school: School, remembering: Litestar) -> None:
    admin = calling(remembering, await school.admin())

    refused = await admin.patch(f"/api/admin/users/{admin.user_id}", {"is_active": False})

    assert refused.status_code == 409
    assert (await admin.get("/api/users/me")).status_code == 200


async def test_who_was_read_before_a_change_is_not_remembered_after_it(
    school: School, remembering: Litestar, clock: TurnableClock
) -> None:
    """The answer of the database crosses with the change."""
    ana = await school.person()
    principals = remembering.state.resources.principals

    asking = asyncio.create_task(principals.get(ana.token, clock()))
    await asyncio.wait([asking], timeout=0)
    principals.forget(ana.user_id)
    await asking
    async with school.sessions.begin() as session:
        await SessionRepository(session).end_all(ana.user_id, clock())

    assert await principals.get(ana.token, clock()) is None


async def test_a_remembered_person_is_gone_when_the_session_is_over(
    school: School, remembering: Litestar, clock: TurnableClock
) -> None:
    ana = calling(remembering, await school.person())
    before = (await ana.get("/api/users/me")).status_code
    async with school.sessions.begin() as session:
        await session.execute(sa.update(AuthSession).values(expires_at=clock() + timedelta(hours=2)))
    remembering.state.resources.principals.forget()
    await ana.get("/api/users/me")

    clock.turn(timedelta(hours=3))

    assert before == 200
    assert (await ana.get("/api/users/me")).status_code == 401


# Another worker


async def test_another_worker_hears_of_a_logout_within_its_second(
    school: School, settings: Settings, clock: TurnableClock
) -> None:
    """Without Redis it remembers whom it has seen, for a second at the most."""
    ana = await school.person()
    other = create_app(settings, clock=clock, upkeep_seconds=None)
    async with LifespanManager(other):  # type: ignore[arg-type]
        elsewhere = calling(other, ana)
        before = (await elsewhere.get("/api/users/me")).status_code

        await ana.post("/api/auth/logout")
        async with asyncio.timeout(5):
            while (await elsewhere.get("/api/users/me")).status_code != 401:
                pass

    assert before == 200


# Another key


@pytest.mark.parametrize(("is_kept", "status"), [(True, 200), (False, 401)], ids=["kept", "forgotten"])
async def test_a_new_secret_key_signs_nobody_out_while_the_one_before_is_kept(
    school: School, settings: Settings, clock: TurnableClock, is_kept: bool, status: int
) -> None:
    ana = await school.person()
    previous = settings.secret_key if is_kept else None
    replaced = replace(settings, secret_key="another key, as long as it has to be", secret_key_previous=previous)
    app = create_app(replaced, clock=clock, upkeep_seconds=None)
    async with LifespanManager(app):  # type: ignore[arg-type]
        response = await calling(app, ana).get("/api/users/me")

    assert response.status_code == status
