"""A worker that keeps for an hour what it has read: whatever it sees sooner, it has seen in the database."""

from collections.abc import AsyncIterator

import pytest
from asgi_lifespan import LifespanManager
from litestar import Litestar

from conftest import TurnableClock
from factories import School
from mambo.app import create_app
from mambo.settings import Settings


@pytest.fixture
async def worker(settings: Settings, clock: TurnableClock, school: School) -> AsyncIterator[Litestar]:
    app = create_app(settings, clock=clock, runs_jobs=False, memory_seconds=3600)
    async with LifespanManager(app):  # type: ignore[arg-type]
        yield app
