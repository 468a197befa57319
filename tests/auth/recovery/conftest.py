"""These tests use the app that sends e-mails."""

import pytest
from litestar import Litestar

from mambo.settings import Settings


@pytest.fixture(scope="session")
def settings(mail_settings: Settings) -> Settings:
    return mail_settings


@pytest.fixture(scope="session")
def app(mail_app: Litestar) -> Litestar:
    return mail_app
