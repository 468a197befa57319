"""Alive without a database, ready only with one; what needs it answers 503."""

from collections.abc import AsyncIterator

import httpx
import pytest
from asgi_lifespan import LifespanManager

from conftest import check_envelope
from factories import School
from mambo.app import create_app
from mambo.settings import load_settings


@pytest.fixture
async def cut_off() -> AsyncIterator[httpx.AsyncClient]:
    """Anyone, calling an app whose database is not there."""
    settings = load_settings({"DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none", "SECRET_KEY": "k" * 40})
    app = create_app(settings)
    transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)  # type: ignore[arg-type]
    async with (
        LifespanManager(app),  # type: ignore[arg-type]
        httpx.AsyncClient(transport=transport, base_url="http://test") as client,
    ):
        yield client


@pytest.mark.parametrize(
    ("path", "status"), [("/health", "healthy"), ("/health/live", "healthy"), ("/health/ready", "ready")]
)
async def test_a_healthy_service_says_so(client: httpx.AsyncClient, path: str, status: str) -> None:
    response = await client.get(path)

    assert (response.status_code, response.json()) == (200, {"status": status})


async def test_without_a_database_it_lives_and_is_not_ready(cut_off: httpx.AsyncClient) -> None:
    live, ready = await cut_off.get("/health/live"), await cut_off.get("/health/ready")

    assert (live.status_code, ready.status_code) == (200, 503)


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "/api/courses/worlds", None),
        ("POST", "/api/auth/token", {"email": "a@example.com", "password": "x"}),
    ],
)
async def test_without_a_database_what_needs_it_asks_to_try_again(
    cut_off: httpx.AsyncClient, method: str, path: str, body: dict[str, str] | None
) -> None:
    response = await cut_off.request(method, path, json=body)

    check_envelope(response)
    assert (response.status_code, response.json()["code"]) == (503, "unavailable")
    assert int(response.headers["retry-after"]) > 0


async def test_the_root_says_where_the_documentation_is(school: School) -> None:
    response = await school.client.get("/")

    assert response.json() == {"name": "Mambo", "docs": "/docs", "openapi": "/openapi.json"}
