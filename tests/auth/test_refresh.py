"""Refresh tokens: each is used once, a lost response is repeated for ten seconds, and reuse ends the session."""

import asyncio
import hashlib
from datetime import timedelta
from typing import Any
from unittest.mock import patch

import httpx
import pytest
import sqlalchemy as sa
from litestar import Litestar

from conftest import TurnableClock
from factories import School
from mambo.app import maintenance_of
from mambo.auth.models import AuthSession, RefreshToken
from support.sign_in import ANA, bearer, sign_in, status_of


@pytest.fixture
async def first(school: School, client: httpx.AsyncClient) -> dict[str, Any]:
    """Return the tokens of Ana's registration."""
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


async def test_only_the_hash_of_a_refresh_token_is_stored(school: School, first: dict[str, Any]) -> None:
    """The token is 256 bits, with a prefix by which secret scanners can find it."""
    stored = await school.scalar(sa.select(RefreshToken.hash))

    assert stored == hashlib.sha256(first["refresh_token"].encode()).digest()
    assert first["refresh_token"].startswith("mbr_")
    assert len(first["refresh_token"]) == 4 + 43


@pytest.mark.parametrize("token", ["", "x" * 201, "mbr_unknown", "mbr_" + "A" * 43, "\u0000", None, 7])
async def test_an_invalid_refresh_token_is_refused(school: School, client: httpx.AsyncClient, token: Any) -> None:
    response = await client.post("/api/auth/refresh", json={"refresh_token": token})

    assert response.status_code in {401, 422}


async def test_access_and_refresh_tokens_are_not_interchangeable(
    first: dict[str, Any], client: httpx.AsyncClient
) -> None:
    as_refresh = await refresh(client, {"refresh_token": first["access_token"][:200]})
    as_access = await status_of(client, {"access_token": first["refresh_token"]})

    assert (as_refresh.status_code, as_access) == (401, 401)


# Concurrent and repeated use


async def test_fifty_concurrent_refreshes_return_one_child(
    school: School, first: dict[str, Any], client: httpx.AsyncClient, clock: TurnableClock
) -> None:
    """In each of twenty rounds."""
    token = first
    for _ in range(20):
        responses = await asyncio.gather(*(refresh(client, token) for _ in range(50)))

        assert {response.status_code for response in responses} == {200}
        assert len({response.json()["refresh_token"] for response in responses}) == 1
        assert await live_tokens(school, clock) == 1
        token = responses[0].json()


async def test_a_lost_response_is_repeated_within_ten_seconds(
    school: School, first: dict[str, Any], client: httpx.AsyncClient, clock: TurnableClock
) -> None:
    child = await refreshed(client, first)
    clock.turn(timedelta(seconds=10))

    again = await refreshed(client, first)

    assert again["refresh_token"] == child["refresh_token"]
    assert await status_of(client, again) == 200
    assert await live_tokens(school, clock) == 1


async def test_reuse_after_eleven_seconds_ends_the_session(
    school: School, first: dict[str, Any], client: httpx.AsyncClient, clock: TurnableClock
) -> None:
    """The child and all access tokens end too, in a transaction that the refusal does not roll back."""
    child = await refreshed(client, first)
    clock.turn(timedelta(seconds=11))

    replayed = await refresh(client, first)

    assert replayed.status_code == 401
    assert (await refresh(client, child)).status_code == 401
    assert {await status_of(client, token) for token in (first, child)} == {401}
    assert await school.scalar(sa.select(AuthSession.revoked_at)) == clock()


async def test_reuse_after_its_child_was_used_ends_the_session(
    first: dict[str, Any], client: httpx.AsyncClient
) -> None:
    """Even within ten seconds, because a client that has the child got the response."""
    grandchild = await refreshed(client, await refreshed(client, first))

    replayed = await refresh(client, first)

    assert replayed.status_code == 401
    assert await status_of(client, grandchild) == 401


async def test_reuse_does_not_end_other_sessions(
    first: dict[str, Any], client: httpx.AsyncClient, clock: TurnableClock
) -> None:
    other = await sign_in(client)
    await refreshed(client, first)
    clock.turn(timedelta(seconds=11))

    await refresh(client, first)

    assert await status_of(client, other) == 200


async def test_repeating_a_request_after_a_key_change_ends_no_session(
    app: Litestar, first: dict[str, Any], client: httpx.AsyncClient
) -> None:
    """The same child cannot be computed with the new key: 401, and the session stays."""
    child = await refreshed(client, first)
    with patch.object(app.state.resources.token_issuer.refresh, "_key", b"another key"):
        replayed = await refresh(client, first)

    assert replayed.status_code == 401
    assert await status_of(client, child) == 200


# Expiry


async def test_a_refresh_token_expires_after_thirty_days(
    first: dict[str, Any], client: httpx.AsyncClient, clock: TurnableClock
) -> None:
    clock.turn(timedelta(days=30))

    assert (await refresh(client, first)).status_code == 401


async def test_a_session_ends_after_ninety_days_even_when_it_is_refreshed(
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


async def test_a_disabled_account_cannot_refresh(
    school: School, first: dict[str, Any], client: httpx.AsyncClient
) -> None:
    admin = await school.admin()
    me = (await client.get("/api/users/me", headers=bearer(first))).json()
    await admin.patch(f"/api/admin/users/{me['id']}", {"is_active": False})

    assert (await refresh(client, first)).status_code == 401


async def test_expired_sessions_are_deleted_with_their_tokens(
    school: School, app: Litestar, first: dict[str, Any], clock: TurnableClock
) -> None:
    maintenance = maintenance_of(app.state.resources)
    clock.turn(timedelta(days=90))
    before = await maintenance.remove_old_sessions()
    clock.turn(timedelta(seconds=1))

    after = await maintenance.remove_old_sessions()

    assert (before, after) == (0, 1)
    assert await school.scalar(sa.select(sa.func.count()).select_from(RefreshToken)) == 0
