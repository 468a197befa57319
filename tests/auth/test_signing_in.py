"""Making an account and signing in."""

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
from mambo.auth.passwords import HASHER
from mambo.game.models import ActivityDay
from mambo.users.models import User

ANA = {"email": "ana@example.com", "password": "back on two", "first_name": "Ana", "last_name": "Ruiz"}


async def test_a_new_account_is_signed_in(school: School, client: httpx.AsyncClient) -> None:
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
async def test_an_email_signs_in_however_it_is_written(school: School, client: httpx.AsyncClient, email: str) -> None:
    await client.post("/api/auth/register", json=ANA)

    response = await client.post("/api/auth/token", json={"email": email, "password": ANA["password"]})

    assert response.status_code == 200
    assert response.headers["cache-control"] == "no-store"


async def test_oauth2s_password_form_signs_in(school: School, client: httpx.AsyncClient) -> None:
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


async def test_an_old_token_does_not_stop_signing_in(school: School, client: httpx.AsyncClient) -> None:
    """The web client sends its stored token with every call."""
    await client.post("/api/auth/register", json=ANA)
    stale = {"Authorization": "Bearer stale"}

    response = await client.post("/api/auth/token", json={k: ANA[k] for k in ("email", "password")}, headers=stale)

    assert response.status_code == 200


async def test_wrong_password_unknown_email_and_disabled_account_look_alike(
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

    answers = [await client.post("/api/auth/token", json={"email": e, "password": p}) for e, p in attempts]

    assert {answer.status_code for answer in answers} == {401}
    assert len({tuple(sorted((answer.json() | {"request_id": ""}).items())) for answer in answers}) == 1


async def test_an_email_is_one_persons_however_many_ask_at_once(school: School, client: httpx.AsyncClient) -> None:
    """As many at once as passwords are hashed for, in different spellings: one account, and 409 for all others."""
    spellings = [ANA["email"], ANA["email"].upper(), f" {ANA['email']} "]

    replies = await asyncio.gather(
        *(client.post("/api/auth/register", json=ANA | {"email": spellings[n % 3]}) for n in range(33))
    )

    assert sorted(reply.status_code for reply in replies) == [201] + [409] * 32
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
async def test_a_bad_registration_names_the_field(
    school: School, client: httpx.AsyncClient, change: dict[str, Any], field: str
) -> None:
    response = await client.post("/api/auth/register", json=ANA | change)

    assert response.status_code == 422
    assert response.json()["errors"][0]["field"] == field
    assert await school.scalar(sa.select(sa.func.count()).select_from(User)) == 0


async def test_an_account_of_an_address_that_nobody_could_register_signs_in(
    school: School, client: httpx.AsyncClient
) -> None:
    """The older service took them."""
    old = await school.person(email="ana(old)@example..com", password_hash=HASHER.hash(ANA["password"]))

    response = await client.post("/api/auth/token", json={"email": old.email, "password": ANA["password"]})

    assert response.status_code == 200


@pytest.mark.parametrize("password", ["x" * 8, "ñandú 🕺💃 sí", "  spaces around  ", "x" * 128])
async def test_any_password_of_8_to_128_characters_works_exactly(
    school: School, client: httpx.AsyncClient, password: str
) -> None:
    await client.post("/api/auth/register", json=ANA | {"password": password})

    right = await client.post("/api/auth/token", json={"email": ANA["email"], "password": password})
    wrong = await client.post("/api/auth/token", json={"email": ANA["email"], "password": password[:-1] or "y"})

    assert (right.status_code, wrong.status_code) == (200, 401)


async def test_a_password_is_stored_as_argon2id_of_owasps_cost(school: School, client: httpx.AsyncClient) -> None:
    await client.post("/api/auth/register", json=ANA)

    stored = await school.scalar(sa.select(User.password_hash))

    assert stored.startswith("$argon2id$v=19$m=19456,t=2,p=1$")


async def test_a_sign_in_is_a_session_and_a_day(
    school: School, client: httpx.AsyncClient, clock: TurnableClock
) -> None:
    await client.post("/api/auth/register", json=ANA | {"timezone": "Pacific/Kiritimati"})

    session = await school.scalar(sa.select(AuthSession))
    day = await school.scalar(sa.select(ActivityDay.local_date))

    assert session.device.startswith("python-httpx")
    assert session.ip_prefix == "127.0.0.0/24"
    assert session.expires_at == clock() + timedelta(days=90)
    assert str(day) == "2026-03-03"


async def test_an_access_token_ends_after_its_days(school: School, clock: TurnableClock) -> None:
    ana = await school.person()
    clock.turn(timedelta(days=7) - timedelta(seconds=1))
    before = await ana.get("/api/auth/me")
    clock.turn(timedelta(seconds=1))

    after = await ana.get("/api/auth/me")

    assert (before.status_code, after.status_code) == (200, 401)


@pytest.mark.parametrize(
    "values", [{"revoked_at": sa.func.now()}, {"expires_at": sa.text("'2020-01-01'")}], ids=["revoked", "expired"]
)
async def test_a_token_is_worth_what_its_session_is(school: School, values: dict[str, Any]) -> None:
    ana = await school.person()
    async with school.sessions() as session, session.begin():
        await session.execute(sa.update(AuthSession).values(values))

    response = await ana.get("/api/auth/me")

    assert response.status_code == 401


async def test_a_session_of_someone_else_does_not_count(school: School, app: Litestar) -> None:
    """A token that joins one person's session to another's id is nobody's."""
    from mambo.auth.tokens import Claims  # noqa: PLC0415

    ana, ben = await school.person(), await school.person()
    session_id = await school.scalar(sa.select(AuthSession.id).where(AuthSession.user_id == ben.user_id))
    ana.token = app.state.resources.token_issuer.access.issue(
        Claims(ana.user_id, session_id), school.clock(), school.clock() + timedelta(days=90)
    )[0]

    response = await ana.get("/api/auth/me")

    assert response.status_code == 401
