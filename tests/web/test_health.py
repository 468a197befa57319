"""Health checks; without a database the service is live and not ready, and requests that need one are 503."""

from collections.abc import AsyncIterator

import httpx
import pytest
from asgi_lifespan import LifespanManager

from conftest import check_envelope
from factories import School
from mambo.app import create_app
from mambo.settings import load_settings


@pytest.fixture
async def client_without_database() -> AsyncIterator[httpx.AsyncClient]:
    """A client of an app whose database is unreachable."""
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
async def test_health_checks_of_a_healthy_service(client: httpx.AsyncClient, path: str, status: str) -> None:
    response = await client.get(path)

    assert (response.status_code, response.json()) == (200, {"status": status})


async def test_without_a_database_the_service_is_live_and_not_ready(client_without_database: httpx.AsyncClient) -> None:
    live, ready = await client_without_database.get("/health/live"), await client_without_database.get("/health/ready")

    assert (live.status_code, ready.status_code) == (200, 503)


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "/api/courses/worlds", None),
        ("POST", "/api/auth/token", {"email": "a@example.com", "password": "x"}),
    ],
)
async def test_without_a_database_a_request_that_needs_it_is_503_with_retry_after(
    client_without_database: httpx.AsyncClient, method: str, path: str, body: dict[str, str] | None
) -> None:
    response = await client_without_database.request(method, path, json=body)

    check_envelope(response)
    assert (response.status_code, response.json()["code"]) == (503, "unavailable")
    assert int(response.headers["retry-after"]) > 0


async def test_the_root_names_the_documentation(school: School) -> None:
    response = await school.client.get("/")

    assert response.json() == {"name": "Mambo", "docs": "/docs", "openapi": "/openapi.json"}
