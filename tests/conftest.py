"""The suite runs on an embedded PostgreSQL. Tests commit, and the tables are emptied after each."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from unittest.mock import patch

import httpx
import pytest
import sqlalchemy as sa
from alembic import command as alembic
from asgi_lifespan import LifespanManager
from hypothesis import settings as hypothesis
from litestar import Litestar
from sqlalchemy.ext.asyncio import AsyncEngine, async_sessionmaker, create_async_engine

from factories import School
from mambo.app import create_app
from mambo.database.base import metadata
from mambo.database.migrations import alembic_config
from mambo.database.session import create_engine
from mambo.database.statements import Statement
from mambo.devkit.postgres import embedded_postgres
from mambo.limits.repository import SWEEP
from mambo.settings import Settings, load_settings
from mambo.web.openapi import describe_api

# `--hypothesis-profile=thorough` takes hours. There is no deadline, because a slow machine is not an error.
hypothesis.register_profile("suite", max_examples=300, deadline=None)
hypothesis.register_profile("thorough", max_examples=100_000, deadline=None)

pytest_plugins = ["support.mail", "support.media", "support.redis", "support.workers"]

START = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)


class TurnableClock:
    """A clock whose time changes only when a test advances it."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> datetime:
        return self.now

    def turn(self, by: timedelta) -> None:
        self.now += by


@pytest.fixture(scope="session")
def postgres_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """An empty PostgreSQL server for the session."""
    with embedded_postgres(tmp_path_factory.mktemp("data")) as url:
        yield url


@pytest.fixture(scope="session")
async def make_database(postgres_url: str) -> Callable[[str], Any]:
    """Create an empty database with a name, and return its URL."""

    async def make(name: str) -> str:
        server = create_async_engine(postgres_url, isolation_level="AUTOCOMMIT")
        async with server.connect() as connection:
            await connection.execute(sa.text(f"CREATE DATABASE {name}"))
            # The data of a test run need not survive a crash of the machine.
            await connection.execute(sa.text("ALTER SYSTEM SET fsync = off"))
            await connection.execute(sa.text("SELECT pg_reload_conf()"))
        await server.dispose()
        return postgres_url.replace("/postgres?", f"/{name}?")

    return make


@pytest.fixture(scope="session")
async def database_url(make_database: Callable[[str], Any]) -> str:
    """The migrated database of the suite."""
    url: str = await make_database("mambo_test")
    await run_alembic(alembic.upgrade, url, "head")
    return url


async def run_alembic(command: Callable[..., Any], url: str, *arguments: str) -> None:
    """Run an Alembic command in a thread, because it starts an event loop."""
    await asyncio.to_thread(command, alembic_config(url), *arguments)


@pytest.fixture(scope="session")
def settings(base_settings: Settings) -> Settings:
    """The settings of the app under test; a folder of tests can override this fixture."""
    return base_settings


@pytest.fixture(scope="session")
def base_settings(database_url: str, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return load_settings(
        {
            "DATABASE_URL": database_url,
            "DATABASE_POOL_SIZE": "6",  # several apps share the 100 connections of the server
            "SECRET_KEY": "a-key-for-the-tests-that-is-long-enough",
            "MAMBO_DATA_DIR": str(tmp_path_factory.mktemp("data_dir")),
        }
    )


@pytest.fixture(scope="session")
def clock() -> TurnableClock:
    return TurnableClock()


@pytest.fixture(scope="session")
async def app(settings: Settings, clock: TurnableClock) -> AsyncIterator[Litestar]:
    app = create_app(settings, clock=clock, runs_jobs=False, memory_seconds=0)
    async with LifespanManager(app):  # type: ignore[arg-type]
        yield app


@pytest.fixture(scope="session")
def api_description(app: Litestar) -> dict[str, Any]:
    return describe_api(app)


@pytest.fixture(scope="session")
async def engine(database_url: str) -> AsyncIterator[AsyncEngine]:
    """An engine with which tests read and change rows."""
    engine = create_engine(database_url, pool_size=5)
    yield engine
    await engine.dispose()


@contextmanager
def counted(app: Litestar) -> Iterator[list[str]]:
    """Collect the statements that sessions and the pool of the app send to the database in the block."""
    statements: list[str] = []

    def collect(_connection: object, _cursor: object, statement: str, *_rest: object) -> None:
        statements.append(statement)

    def arguments(statement: Statement, values: dict[str, Any]) -> list[Any]:
        """The pool calls this once per statement. SWEEP is left out, because it does not run on every call."""
        if statement is not SWEEP:
            statements.append(statement.sql)
        return original(statement, values)

    engine, original = app.state.resources.engine.sync_engine, Statement.arguments
    sa.event.listen(engine, "before_cursor_execute", collect)
    try:
        with patch.object(Statement, "arguments", arguments):
            yield statements
    finally:
        sa.event.remove(engine, "before_cursor_execute", collect)


@pytest.fixture
async def school(
    engine: AsyncEngine, app: Litestar, clock: TurnableClock, client: httpx.AsyncClient
) -> AsyncIterator[School]:
    """Creates users and courses directly in the database; all rows are deleted after the test."""
    clock.now = START
    yield School(
        async_sessionmaker(engine, expire_on_commit=False), client, app.state.resources.token_issuer.access, clock
    )
    deletions = " ".join(f"DELETE FROM {table};" for table in metadata.tables)  # noqa: S608 - our own names
    async with engine.begin() as connection:
        # Without triggers, because all rows are deleted; TRUNCATE takes seven times as long.
        await connection.execute(
            sa.text(f"DO $$ BEGIN SET LOCAL session_replication_role = replica; {deletions} END $$")
        )


@pytest.fixture
async def client(app: Litestar, api_description: dict[str, Any]) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the app in this process that checks the common properties of every response."""

    async def check(response: httpx.Response) -> None:
        await response.aread()
        check_envelope(response)
        check_documented(response, api_description)

    transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)  # type: ignore[arg-type]
    async with httpx.AsyncClient(
        transport=transport, base_url="http://test", event_hooks={"response": [check]}
    ) as client:
        yield client


def check_envelope(response: httpx.Response) -> None:
    """Check the id and security headers of a response, and that an error is a problem document with a sentence."""
    assert response.headers["x-request-id"]
    assert response.headers["x-content-type-options"] == "nosniff"
    assert "content-security-policy" in response.headers
    assert "argon2" not in response.text
    is_preflight = response.request.method == "OPTIONS"
    if response.status_code >= 400 and not is_preflight:
        assert response.headers["content-type"] == "application/problem+json"
        problem = response.json()
        assert problem["status"] == response.status_code
        assert problem["request_id"] == response.headers["x-request-id"]
        assert problem["detail"].endswith("."), problem["detail"]
        assert {"type", "title", "code"} <= problem.keys()
        assert not {"Traceback", "sqlalchemy", "SELECT", "asyncpg"} & set(response.text.split())
    if response.status_code == 401:
        assert response.headers["www-authenticate"] == "Bearer"


def check_documented(response: httpx.Response, description: dict[str, Any]) -> None:
    """Check that the OpenAPI document has the status of a documented route."""
    method, path = response.request.method.lower(), response.request.url.path
    for template, operations in description["paths"].items():
        if method in operations and matches(template, path):
            assert str(response.status_code) in operations[method]["responses"], (method, template, response.text)


def matches(template: str, path: str) -> bool:
    expected, actual = template.strip("/").split("/"), path.strip("/").split("/")
    return len(expected) == len(actual) and all(
        part.startswith("{") or part == value for part, value in zip(expected, actual, strict=True)
    )
