"""Registers and signs in through the API."""

from typing import Any

import httpx

ANA = {"email": "ana@example.com", "password": "back on two", "first_name": "Ana", "last_name": "Ruiz"}


async def sign_in(client: httpx.AsyncClient, agent: str = "test", **changes: str) -> dict[str, Any]:
    """Sign Ana in and return the tokens; `agent` becomes the name of the device."""
    credentials = {"email": ANA["email"], "password": ANA["password"]} | changes
    response = await client.post("/api/auth/token", json=credentials, headers={"User-Agent": agent})
    assert response.status_code == 200, response.text
    token: dict[str, Any] = response.json()
    return token


def bearer(token: dict[str, Any]) -> dict[str, str]:
    return {"Authorization": f"Bearer {token['access_token']}"}


async def status_of(client: httpx.AsyncClient, token: dict[str, Any]) -> int:
    """Return the status of a request with the access token."""
    return (await client.get("/api/users/me", headers=bearer(token))).status_code
