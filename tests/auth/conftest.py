"""Password hashing on a busy machine takes longer than a client should wait."""

from collections.abc import Iterator
from unittest.mock import patch

import pytest
from litestar import Litestar

from factories import School


@pytest.fixture
def school(school: School, app: Litestar) -> Iterator[School]:
    """Return the school, while the app lets passwords wait a minute for the hashing thread."""
    with patch.object(app.state.resources.passwords, "_wait_seconds", 60):
        yield school
