"""Refresh tokens: used once, given again for ten seconds, and a theft that shows ends the session for good."""

import asyncio
import hashlib
from datetime import timedelta
from typing import Any
from unittest.mock import patch

import httpx
import pytest
import sqlalchemy as sa
from litestar import Litestar

from auth.test_sessions import ANA, bearer, status_of
from conftest import TurnableClock
from factories import School
from mambo.app import maintenance_of
from mambo.auth.models import AuthSession, RefreshToken


@pytest.fixture
async def first(school: School, client: httpx.AsyncClient) -> dict[str, Any]:
    """The tokens of a first sign-in."""
    token: dict[str, Any] = (await client.post("/api/auth/register", json=ANA)).json()
    return token


async def refresh(client: httpx.AsyncClient, token: dict[str, Any]) -> httpx.Response:
    return await client.post("/api/auth/refresh", json={"refresh_token": token["refresh_token"]})


async def refreshed(client: httpx.AsyncClient, token: dict[str, Any]) -> dict[str, Any]:
    response = await refresh(client, token)
    assert response.status_code == 200, response.text
    child: dict[str, Any] = response.json()
    return child


async def live_tokens(school: School, clock: TurnableClock) -> int:
    unused = sa.select(sa.func.count()).select_from(RefreshToken).where(RefreshToken.used_at.is_(None))
    count: int = await school.scalar(unused.where(RefreshToken.expires_at > clock()))
    return count


async def test_a_refresh_token_gives_new_tokens_of_the_same_session(
    school: School, first: dict[str, Any], client: httpx.AsyncClient
) -> None:
    response = await refresh(client, first)

    child = response.json()
    assert response.headers["cache-control"] == "no-store"
    assert child.keys() == first.keys()
    assert child["refresh_token"] != first["refresh_token"]
    assert (child["expires_in"], child["refresh_expires_in"]) == (7 * 24 * 3600, 30 * 24 * 3600)
    assert await status_of(client, child) == 200
    assert await school.scalar(sa.select(sa.func.count()).select_from(AuthSession)) == 1


async def test_what_is_stored_signs_nobody_in(school: School, first: dict[str, Any]) -> None:
    """Only the SHA-256 of a token, which is 256 bits with a prefix that scanners know."""
    stored = await school.scalar(sa.select(RefreshToken.hash))

    assert stored == hashlib.sha256(first["refresh_token"].encode()).digest()
    assert first["refresh_token"].startswith("mbr_")
    assert len(first["refresh_token"]) == 4 + 43


@pytest.mark.parametrize("token", ["", "x" * 201, "mbr_unknown", "mbr_" + "A" * 43, "\u0000", None, 7])
async def test_what_is_no_refresh_token_is_refused(school: School, client: httpx.AsyncClient, token: Any) -> None:
    response = await client.post("/api/auth/refresh", json={"refresh_token": token})

    assert response.status_code in {401, 422}


async def test_an_access_token_is_no_refresh_token_and_the_other_way_round(
    first: dict[str, Any], client: httpx.AsyncClient
) -> None:
    as_refresh = await refresh(client, {"refresh_token": first["access_token"][:200]})
    as_access = await status_of(client, {"access_token": first["refresh_token"]})

    assert (as_refresh.status_code, as_access) == (401, 401)


# At once, and again


async def test_fifty_refreshes_at_once_leave_one_child(
    school: School, first: dict[str, Any], client: httpx.AsyncClient, clock: TurnableClock
) -> None:
    """Twenty rounds: all are answered, all with the same child."""
    token = first
    for _ in range(20):
        responses = await asyncio.gather(*(refresh(client, token) for _ in range(50)))

        assert {response.status_code for response in responses} == {200}
        assert len({response.json()["refresh_token"] for response in responses}) == 1
        assert await live_tokens(school, clock) == 1
        token = responses[0].json()


async def test_a_lost_answer_is_given_again_within_ten_seconds(
    school: School, first: dict[str, Any], client: httpx.AsyncClient, clock: TurnableClock
) -> None:
    child = await refreshed(client, first)
    clock.turn(timedelta(seconds=10))

    again = await refreshed(client, first)

    assert again["refresh_token"] == child["refresh_token"]
    assert await status_of(client, again) == 200
    assert await live_tokens(school, clock) == 1


async def test_a_token_used_again_after_eleven_seconds_ends_the_session(
    school: School, first: dict[str, Any], client: httpx.AsyncClient, clock: TurnableClock
) -> None:
    """For good: the child and every access token with it, in a transaction that the refusal does not undo."""
    child = await refreshed(client, first)
    clock.turn(timedelta(seconds=11))

    replayed = await refresh(client, first)

    assert replayed.status_code == 401
    assert (await refresh(client, child)).status_code == 401
    assert {await status_of(client, token) for token in (first, child)} == {401}
    assert await school.scalar(sa.select(AuthSession.revoked_at)) == clock()


async def test_a_token_used_again_after_its_child_was_ends_the_session(
    first: dict[str, Any], client: httpx.AsyncClient
) -> None:
    """Even within ten seconds: who has the child has had the answer."""
    grandchild = await refreshed(client, await refreshed(client, first))

    replayed = await refresh(client, first)

    assert replayed.status_code == 401
    assert await status_of(client, grandchild) == 401


async def test_a_reuse_ends_no_other_session(
    first: dict[str, Any], client: httpx.AsyncClient, clock: TurnableClock
) -> None:
    credentials = {"email": ANA["email"], "password": ANA["password"]}
    other = (await client.post("/api/auth/token", json=credentials)).json()
    await refreshed(client, first)
    clock.turn(timedelta(seconds=11))

    await refresh(client, first)

    assert await status_of(client, other) == 200


async def test_a_key_that_was_replaced_meanwhile_ends_nothing(
    app: Litestar, first: dict[str, Any], client: httpx.AsyncClient
) -> None:
    """The child cannot be made again: the client is refused, and the session goes on."""
    child = await refreshed(client, first)
    with patch.object(app.state.resources.token_issuer.refresh, "_key", b"another key"):
        replayed = await refresh(client, first)

    assert replayed.status_code == 401
    assert await status_of(client, child) == 200


# The end


async def test_a_token_that_is_not_used_for_thirty_days_is_over(
    first: dict[str, Any], client: httpx.AsyncClient, clock: TurnableClock
) -> None:
    clock.turn(timedelta(days=30))

    assert (await refresh(client, first)).status_code == 401


async def test_a_session_is_over_after_ninety_days_however_often_it_is_refreshed(
    first: dict[str, Any], client: httpx.AsyncClient, clock: TurnableClock
) -> None:
    token = first
    for _ in range(4):
        clock.turn(timedelta(days=20))
        token = await refreshed(client, token)
    clock.turn(timedelta(days=9))
    last = await refreshed(client, token)
    clock.turn(timedelta(days=1))

    assert (last["expires_in"], last["refresh_expires_in"]) == (24 * 3600, 24 * 3600)
    assert (await refresh(client, last)).status_code == 401
    assert await status_of(client, last) == 401


async def test_a_disabled_person_does_not_refresh(
    school: School, first: dict[str, Any], client: httpx.AsyncClient
) -> None:
    admin = await school.admin()
    me = (await client.get("/api/users/me", headers=bearer(first))).json()
    await admin.patch(f"/api/admin/users/{me['id']}", {"is_active": False})

    assert (await refresh(client, first)).status_code == 401


async def test_sign_ins_that_are_over_are_forgotten_with_their_tokens(
    school: School, app: Litestar, first: dict[str, Any], clock: TurnableClock
) -> None:
    upkeep = maintenance_of(app.state.resources)
    clock.turn(timedelta(days=90))
    before = await upkeep.forget_sessions()
    clock.turn(timedelta(seconds=1))

    after = await upkeep.forget_sessions()

    assert (before, after) == (0, 1)
    assert await school.scalar(sa.select(sa.func.count()).select_from(RefreshToken)) == 0
