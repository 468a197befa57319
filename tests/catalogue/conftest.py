"""A course with lessons, and a visitor of a worker that remembers."""

from collections.abc import AsyncIterator

import httpx
import pytest
from litestar import Litestar

from factories import School
from support.catalogue import Course, add_course


@pytest.fixture
async def course(school: School) -> Course:
    return await add_course(school)


@pytest.fixture
async def visitor(worker: Litestar) -> AsyncIterator[httpx.AsyncClient]:
    """Someone who is not signed in, at the worker that remembers."""
    transport = httpx.ASGITransport(app=worker, raise_app_exceptions=False)  # type: ignore[arg-type]
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        yield client
