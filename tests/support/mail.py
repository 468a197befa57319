"""An SMTP server on loopback, and an app that sends its e-mails to it."""

import asyncio
import re
import ssl
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from typing import Any, cast

import pytest
import sqlalchemy as sa
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session
from asgi_lifespan import LifespanManager
from litestar import Litestar
from msgspec.structs import replace
from sqlalchemy.ext.asyncio import AsyncEngine

from conftest import TurnableClock
from mambo.app import create_app
from mambo.jobs import running
from mambo.resources import Resources
from mambo.settings import Settings

UNFINISHED = sa.text(
    "SELECT count(*) FROM jobs.queue WHERE status = 'picked' OR (status = 'queued' AND execute_after <= now())"
)
LINK = re.compile(r"^https://app\.mambo\.example/([a-z-]+)\?token=([A-Za-z0-9_-]{43})$", re.MULTILINE)


class MailServer:
    """An SMTP server on loopback, which records what it receives; `rcpt_reply` and `data_reply` are its replies."""

    def __init__(self, *, username: str | None = None, password: str | None = None) -> None:
        self.url = ""
        self.is_tls_from_start = False
        self.username, self.password = username, password
        self.rcpt_reply = self.data_reply = "250 fine"
        self.senders: list[str] = []
        self.logins: list[tuple[str, str, bool]] = []
        self.most_at_once = self._at_once = 0
        self.arrived: asyncio.Queue[tuple[list[str], EmailMessage]] = asyncio.Queue()
        self.at_work = asyncio.Semaphore(0)
        self.may_go_on = asyncio.Event()
        self.may_go_on.set()

    async def handle_RCPT(self, _: Any, __: Any, envelope: Envelope, address: str, ___: Any) -> str:  # noqa: N802
        envelope.rcpt_tos.append(address)
        return self.rcpt_reply

    async def handle_DATA(self, _: Any, __: Any, envelope: Envelope) -> str:  # noqa: N802
        self._at_once += 1
        self.most_at_once = max(self.most_at_once, self._at_once)
        self.at_work.release()
        await self.may_go_on.wait()
        self._at_once -= 1
        message = message_from_bytes(cast("bytes", envelope.content), policy=default)
        self.senders.append(envelope.mail_from or "")
        self.arrived.put_nowait((envelope.rcpt_tos, message))
        return self.data_reply

    def authenticate(self, _: Any, session: Session, __: Any, ___: str, given: LoginPassword) -> AuthResult:
        login, password = given.login.decode(), given.password.decode()
        self.logins.append((login, password, self.is_tls_from_start or session.ssl is not None))
        return AuthResult(success=(login, password) == (self.username, self.password), handled=False)

    async def link_to(self, page: str, email: str) -> str:
        """Return the token of the next mail to the address with a link to the page; other mail is dropped."""
        while True:
            recipients, message = await self.arrived.get()
            found = LINK.search(text_of(message))
            if recipients == [email] and found is not None and found[1] == page:
                await self.settle()
                return found[2]

    async def settle(self) -> None:
        """Wait until no e-mail is being sent; the tests of an app replace this."""


def text_of(message: EmailMessage, kind: str = "plain") -> str:
    """Return the plain text or the HTML of a mail."""
    body = message.get_body((kind,))
    assert body is not None
    return str(body.get_content()).replace("\r\n", "\n")


@asynccontextmanager
async def serving(
    server: MailServer, *, tls: ssl.SSLContext | None = None, at_once: bool = False
) -> AsyncIterator[None]:
    """Run the server; with `tls` it offers STARTTLS, or with `at_once` starts with TLS."""

    def connection() -> SMTP:
        return SMTP(
            server,
            hostname="mail.example",
            tls_context=None if at_once else tls,
            authenticator=server.authenticate if server.username else None,
            auth_require_tls=False,
            loop=asyncio.get_running_loop(),
        )

    loop = asyncio.get_running_loop()
    listener = await loop.create_server(connection, "127.0.0.1", 0, ssl=tls if at_once else None)
    server.url = f"smtp{'s' if at_once else ''}://localhost:{listener.sockets[0].getsockname()[1]}"
    server.is_tls_from_start = at_once
    async with listener:
        yield


@pytest.fixture(scope="session")
async def mail_server() -> AsyncIterator[MailServer]:
    server = MailServer()
    async with serving(server):
        yield server


@pytest.fixture
def mailbox(mail_server: MailServer) -> MailServer:
    """The app's mail server, without earlier mail."""
    while not mail_server.arrived.empty():
        mail_server.arrived.get_nowait()
    mail_server.rcpt_reply = mail_server.data_reply = "250 fine"
    return mail_server


@pytest.fixture(scope="session")
def mail_settings(base_settings: Settings, mail_server: MailServer) -> Settings:
    return replace(
        base_settings,
        smtp_url=mail_server.url,
        mail_from="Mambo <school@mambo.example>",
        web_url="https://app.mambo.example",
    )


@pytest.fixture(scope="session")
async def mail_app(mail_settings: Settings, clock: TurnableClock) -> AsyncIterator[Litestar]:
    """An app with a mail server, which the other app of the suite does not have."""
    app = create_app(mail_settings, clock=clock, runs_jobs=False, memory_seconds=0)
    async with LifespanManager(app):  # type: ignore[arg-type]
        yield app


def sending(app: Litestar) -> AbstractAsyncContextManager[None]:
    """Run the jobs of an app that send e-mails, and no others."""
    resources: Resources = app.state.resources
    return running(resources.settings.database_url, resources.emails.handlers(), poll_seconds=0.1)


async def settle(engine: AsyncEngine) -> None:
    """Wait until no job is running or due."""
    async with engine.connect() as connection:
        while await connection.scalar(UNFINISHED):
            await connection.rollback()
