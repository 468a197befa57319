"""Fixtures of the tests of sign-in."""

from collections.abc import Iterator
from unittest.mock import patch

import pytest
from litestar import Litestar

from factories import School


@pytest.fixture
def school(school: School, app: Litestar) -> Iterator[School]:
    """Return the school, while passwords may wait a minute for the hashing thread, which is slow on a busy machine."""
    with patch.object(app.state.resources.passwords, "_wait_seconds", 60):
        yield school
