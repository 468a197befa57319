"""Sessions: how they are listed, and what ends them."""

import asyncio
from datetime import timedelta
from typing import Any
from uuid import uuid4

import httpx
import pytest
import sqlalchemy as sa
from argon2 import PasswordHasher

from conftest import TurnableClock
from factories import School
from mambo.auth.models import AuthSession
from mambo.auth.passwords import HASHER
from mambo.auth.repository import SessionRepository
from mambo.auth.rules import MAX_SESSIONS
from mambo.users.models import User
from support.sign_in import ANA, bearer, sign_in, status_of

CHEAPER = PasswordHasher(memory_cost=1024, time_cost=1, parallelism=1)


@pytest.fixture
async def ana(school: School, client: httpx.AsyncClient) -> dict[str, Any]:
    """Return the tokens of Ana's registration, on her phone."""
    response = await client.post("/api/auth/register", json=ANA, headers={"User-Agent": "phone"})
    token: dict[str, Any] = response.json()
    return token


# List


async def test_own_sessions_are_listed_last_seen_first(
    school: School, ana: dict[str, Any], client: httpx.AsyncClient, clock: TurnableClock
) -> None:
    """Sessions of other people are not listed."""
    await school.person()
    clock.turn(timedelta(hours=1))
    laptop = await sign_in(client, "laptop")

    sessions = (await client.get("/api/auth/sessions", headers=bearer(laptop))).json()

    assert [(one["device"], one["current"]) for one in sessions] == [("laptop", True), ("phone", False)]
    assert sessions[0].keys() == {"id", "device", "last_seen_at", "created_at", "current"}
    assert sessions[0]["last_seen_at"] == "2026-03-02T13:00:00Z"


async def test_a_use_of_a_session_is_recorded_every_five_minutes(
    ana: dict[str, Any], client: httpx.AsyncClient, clock: TurnableClock
) -> None:
    seen = []
    for minutes in (4, 2, 4):
        clock.turn(timedelta(minutes=minutes))
        [one] = (await client.get("/api/auth/sessions", headers=bearer(ana))).json()
        seen.append(one["last_seen_at"])

    assert seen == ["2026-03-02T12:00:00Z", "2026-03-02T12:06:00Z", "2026-03-02T12:06:00Z"]


async def test_the_eleventh_sign_in_ends_the_least_recently_seen_session(
    ana: dict[str, Any], client: httpx.AsyncClient, clock: TurnableClock
) -> None:
    tokens = [ana]
    for _ in range(MAX_SESSIONS):
        clock.turn(timedelta(minutes=1))
        tokens.append(await sign_in(client))

    statuses = [await status_of(client, token) for token in tokens]

    assert statuses == [401] + [200] * MAX_SESSIONS


# End


async def test_logout_ends_only_its_own_session(ana: dict[str, Any], client: httpx.AsyncClient) -> None:
    other = await sign_in(client)

    response = await client.post("/api/auth/logout", headers=bearer(ana))

    assert (response.status_code, response.content) == (204, b"")
    assert (await status_of(client, ana), await status_of(client, other)) == (401, 200)
    refresh = await client.post("/api/auth/refresh", json={"refresh_token": ana["refresh_token"]})
    assert refresh.status_code == 401


async def test_a_person_can_end_one_of_their_sessions(ana: dict[str, Any], client: httpx.AsyncClient) -> None:
    other = await sign_in(client)
    sessions = (await client.get("/api/auth/sessions", headers=bearer(ana))).json()
    [session_id] = [one["id"] for one in sessions if not one["current"]]

    first = await client.delete(f"/api/auth/sessions/{session_id}", headers=bearer(ana))
    again = await client.delete(f"/api/auth/sessions/{session_id}", headers=bearer(ana))

    assert (first.status_code, again.status_code) == (204, 404)
    assert (await status_of(client, ana), await status_of(client, other)) == (200, 401)


async def test_a_session_of_another_person_is_not_found(
    school: School, ana: dict[str, Any], client: httpx.AsyncClient
) -> None:
    ben = await school.person()
    [session] = (await client.get("/api/auth/sessions", headers=bearer(ana))).json()

    of_ana = await ben.delete(f"/api/auth/sessions/{session['id']}")
    unknown = await ben.delete(f"/api/auth/sessions/{uuid4()}")

    assert of_ana.status_code == unknown.status_code == 404
    assert of_ana.json() | {"request_id": ""} == unknown.json() | {"request_id": ""}
    assert await status_of(client, ana) == 200


async def test_an_admin_can_end_sessions_of_others(
    school: School, ana: dict[str, Any], client: httpx.AsyncClient
) -> None:
    admin = await school.admin()
    other = await sign_in(client)
    me = (await client.get("/api/users/me", headers=bearer(ana))).json()
    sessions = (await admin.get(f"/api/admin/users/{me['id']}/sessions")).json()

    one = await admin.delete(f"/api/auth/sessions/{sessions[0]['id']}")
    after_one = {await status_of(client, ana), await status_of(client, other)}
    all_of_them = await admin.delete(f"/api/admin/users/{me['id']}/sessions")

    assert (len(sessions), one.status_code, all_of_them.status_code) == (2, 204, 204)
    assert after_one == {200, 401}
    assert {await status_of(client, ana), await status_of(client, other)} == {401}
    assert (await admin.get("/api/users/me")).status_code == 200


async def test_enabling_an_account_does_not_restore_its_sessions(
    school: School, ana: dict[str, Any], client: httpx.AsyncClient
) -> None:
    admin = await school.admin()
    me = (await client.get("/api/users/me", headers=bearer(ana))).json()

    await admin.patch(f"/api/admin/users/{me['id']}", {"is_active": False})
    disabled = await status_of(client, ana)
    await admin.patch(f"/api/admin/users/{me['id']}", {"is_active": True})

    assert (disabled, await status_of(client, ana)) == (401, 401)
    await sign_in(client)


# Change the password


async def test_changing_the_password_ends_all_other_sessions(ana: dict[str, Any], client: httpx.AsyncClient) -> None:
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
async def test_an_invalid_password_change_is_refused_with_the_fields_name(
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


async def test_no_sign_in_with_the_old_password_survives_a_password_change(
    ana: dict[str, Any], client: httpx.AsyncClient
) -> None:
    """The sign-ins run concurrently with the change, in any order."""
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


@pytest.mark.parametrize("stored", [HASHER, CHEAPER], ids=["current hash", "outdated hash"])
async def test_a_password_change_after_the_check_of_the_old_password_wins(
    school: School, client: httpx.AsyncClient, clock: TurnableClock, stored: PasswordHasher
) -> None:
    """The sign-in has checked the old password and waits for the account's row, which the change has locked."""
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
