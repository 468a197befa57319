"""These tests use the app that sends e-mails, and run its jobs."""

from collections.abc import AsyncIterator
from functools import partial

import pytest
import sqlalchemy as sa
from litestar import Litestar
from sqlalchemy.ext.asyncio import AsyncEngine

from mambo.settings import Settings
from support.mail import MailServer, sending, settle


@pytest.fixture(scope="session")
def settings(mail_settings: Settings) -> Settings:
    return mail_settings


@pytest.fixture(scope="session")
def app(mail_app: Litestar) -> Litestar:
    return mail_app


@pytest.fixture
async def mailbox(
    mailbox: MailServer, app: Litestar, engine: AsyncEngine, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[MailServer]:
    """The app's mail server, to which jobs send e-mails during the test; there are no earlier jobs."""
    async with engine.begin() as connection:
        await connection.execute(sa.text("DELETE FROM jobs.queue"))
    monkeypatch.setattr(mailbox, "settle", partial(settle, engine))
    async with sending(app):
        yield mailbox
