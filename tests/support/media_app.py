"""Fixtures of a folder whose tests run against the app with image storage and videos; its conftest imports them."""

import pytest
from litestar import Litestar

from mambo.settings import Settings


@pytest.fixture(scope="session")
def settings(media_settings: Settings) -> Settings:
    return media_settings


@pytest.fixture(scope="session")
def app(media_app: Litestar) -> Litestar:
    return media_app
