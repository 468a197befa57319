"""Registration and sign-in."""

import asyncio
from datetime import timedelta
from typing import Any

import httpx
import pytest
import sqlalchemy as sa
from litestar import Litestar

from conftest import TurnableClock
from factories import School
from mambo.auth.models import AuthSession
from mambo.auth.passwords import HASHER, MAX_WAITING
from mambo.auth.tokens import Claims
from mambo.game.models import ActivityDay
from mambo.users.models import User
from support.sign_in import ANA


async def test_registration_signs_in(school: School, client: httpx.AsyncClient) -> None:
    response = await client.post("/api/auth/register", json=ANA | {"timezone": "America/New_York"})

    token = response.json()
    assert response.status_code == 201
    assert response.headers["cache-control"] == "no-store"
    assert (token["token_type"], token["expires_in"]) == ("bearer", 7 * 24 * 3600)
    me = await client.get("/api/auth/me", headers={"Authorization": f"Bearer {token['access_token']}"})
    assert me.json() | {"id": None} == {
        "id": None,
        "email": "ana@example.com",
        "first_name": "Ana",
        "last_name": "Ruiz",
        "role": "user",
        "tier": "rookie",
        "xp": 0,
        "level": 1,
        "streak_count": 1,
        "avatar_url": None,
        "current_level_tag": None,
        "timezone": "America/New_York",
        "show_on_leaderboard": True,
    }


@pytest.mark.parametrize("email", ["ana@example.com", "ANA@Example.COM", "  ana@example.com "])
async def test_case_and_spaces_of_an_email_address_do_not_matter(
    school: School, client: httpx.AsyncClient, email: str
) -> None:
    await client.post("/api/auth/register", json=ANA)

    response = await client.post("/api/auth/token", json={"email": email, "password": ANA["password"]})

    assert response.status_code == 200
    assert response.headers["cache-control"] == "no-store"


async def test_the_password_form_of_oauth2_signs_in(school: School, client: httpx.AsyncClient) -> None:
    await client.post("/api/auth/register", json=ANA)
    form = {
        "grant_type": "password",
        "username": ANA["email"],
        "password": ANA["password"],
        "scope": "",
        "client_id": "x",
    }

    response = await client.post("/api/auth/token", data=form)

    assert (response.status_code, response.json()["token_type"]) == (200, "bearer")


async def test_credentials_in_another_media_type_are_refused(client: httpx.AsyncClient) -> None:
    response = await client.post("/api/auth/token", content="x", headers={"Content-Type": "text/plain"})

    assert response.status_code == 415


async def test_an_invalid_token_beside_the_credentials_is_ignored(school: School, client: httpx.AsyncClient) -> None:
    """The first web client sends its stored token with every request."""
    await client.post("/api/auth/register", json=ANA)
    stale = {"Authorization": "Bearer stale"}

    response = await client.post("/api/auth/token", json={k: ANA[k] for k in ("email", "password")}, headers=stale)

    assert response.status_code == 200


async def test_wrong_password_unknown_email_and_disabled_account_get_the_same_response(
    school: School, client: httpx.AsyncClient
) -> None:
    for email in (ANA["email"], "disabled@example.com"):
        await client.post("/api/auth/register", json=ANA | {"email": email})
    async with school.sessions() as session, session.begin():
        await session.execute(sa.update(User).where(User.email == "disabled@example.com").values(is_active=False))
    attempts = [
        (ANA["email"], "wrong password"),
        ("nobody@example.com", "x"),
        ("disabled@example.com", ANA["password"]),
    ]

    responses = [await client.post("/api/auth/token", json={"email": e, "password": p}) for e, p in attempts]

    assert {response.status_code for response in responses} == {401}
    assert len({tuple(sorted((response.json() | {"request_id": ""}).items())) for response in responses}) == 1


async def test_concurrent_registrations_of_an_email_create_one_account(
    school: School, client: httpx.AsyncClient
) -> None:
    """As many as there are hashing slots, in different spellings; the others get 409."""
    spellings = [ANA["email"], ANA["email"].upper(), f" {ANA['email']} "]

    responses = await asyncio.gather(
        *(client.post("/api/auth/register", json=ANA | {"email": spellings[n % 3]}) for n in range(1 + MAX_WAITING))
    )

    assert sorted(response.status_code for response in responses) == [201] + [409] * MAX_WAITING
    assert await school.scalar(sa.select(sa.func.count()).select_from(User)) == 1


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"email": "nobody"}, "email"),
        ({"email": "a b@example.com"}, "email"),
        ({"email": "ana(old)@example.com"}, "email"),
        ({"email": "a@example.com" + "x" * 250}, "email"),
        ({"password": "seven77"}, "password"),
        ({"password": "x" * 129}, "password"),
        ({"first_name": ""}, "first_name"),
        ({"last_name": "\u202eziuR"}, "last_name"),
        ({"timezone": "Mars/Olympus"}, "timezone"),
        ({"timezone": "../etc/passwd"}, "timezone"),
        ({"current_level_tag": "Expert"}, "current_level_tag"),
        ({"role": "admin"}, "role"),
        ({"xp": 1000}, "xp"),
    ],
)
async def test_an_invalid_registration_is_refused_with_the_fields_name(
    school: School, client: httpx.AsyncClient, change: dict[str, Any], field: str
) -> None:
    response = await client.post("/api/auth/register", json=ANA | change)

    assert response.status_code == 422
    assert response.json()["errors"][0]["field"] == field
    assert await school.scalar(sa.select(sa.func.count()).select_from(User)) == 0


async def test_an_account_with_an_address_that_cannot_register_signs_in(
    school: School, client: httpx.AsyncClient
) -> None:
    """The older service accepted such addresses."""
    old = await school.person(email="ana(old)@example..com", password_hash=HASHER.hash(ANA["password"]))

    response = await client.post("/api/auth/token", json={"email": old.email, "password": ANA["password"]})

    assert response.status_code == 200


@pytest.mark.parametrize("password", ["x" * 8, "ñandú 🕺💃 sí", "  spaces around  ", "x" * 128])
async def test_a_password_of_8_to_128_characters_is_compared_exactly(
    school: School, client: httpx.AsyncClient, password: str
) -> None:
    await client.post("/api/auth/register", json=ANA | {"password": password})

    right = await client.post("/api/auth/token", json={"email": ANA["email"], "password": password})
    wrong = await client.post("/api/auth/token", json={"email": ANA["email"], "password": password[:-1] or "y"})

    assert (right.status_code, wrong.status_code) == (200, 401)


async def test_a_password_is_stored_as_argon2id_with_owasps_parameters(
    school: School, client: httpx.AsyncClient
) -> None:
    await client.post("/api/auth/register", json=ANA)

    stored = await school.scalar(sa.select(User.password_hash))

    assert stored.startswith("$argon2id$v=19$m=19456,t=2,p=1$")


async def test_a_sign_in_opens_a_session_and_counts_the_local_day(
    school: School, client: httpx.AsyncClient, clock: TurnableClock
) -> None:
    await client.post("/api/auth/register", json=ANA | {"timezone": "Pacific/Kiritimati"})

    session = await school.scalar(sa.select(AuthSession))
    day = await school.scalar(sa.select(ActivityDay.local_date))

    assert session.device.startswith("python-httpx")
    assert session.ip_prefix == "127.0.0.0/24"
    assert session.expires_at == clock() + timedelta(days=90)
    assert str(day) == "2026-03-03"


async def test_an_access_token_expires_after_seven_days(school: School, clock: TurnableClock) -> None:
    ana = await school.person()
    clock.turn(timedelta(days=7) - timedelta(seconds=1))
    before = await ana.get("/api/auth/me")
    clock.turn(timedelta(seconds=1))

    after = await ana.get("/api/auth/me")

    assert (before.status_code, after.status_code) == (200, 401)


@pytest.mark.parametrize(
    "values", [{"revoked_at": sa.func.now()}, {"expires_at": sa.text("'2020-01-01'")}], ids=["revoked", "expired"]
)
async def test_a_token_of_an_ended_session_is_refused(school: School, values: dict[str, Any]) -> None:
    ana = await school.person()
    async with school.sessions() as session, session.begin():
        await session.execute(sa.update(AuthSession).values(values))

    response = await ana.get("/api/auth/me")

    assert response.status_code == 401


async def test_a_token_with_the_session_of_another_person_is_refused(school: School, app: Litestar) -> None:
    ana, ben = await school.person(), await school.person()
    session_id = await school.scalar(sa.select(AuthSession.id).where(AuthSession.user_id == ben.user_id))
    ana.token = app.state.resources.token_issuer.access.issue(
        Claims(ana.user_id, session_id), school.clock(), school.clock() + timedelta(days=90)
    )[0]

    response = await ana.get("/api/auth/me")

    assert response.status_code == 401
