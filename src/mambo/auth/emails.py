"""E-mails with a token: a link to set a new password, and one to confirm an address. Each is sent by a job."""

import secrets
from datetime import timedelta
from typing import Any
from uuid import UUID

import structlog
from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from msgspec import Struct

from mambo.adapters.mail import Mail, Mailer
from mambo.auth.models import EmailToken, TokenPurpose
from mambo.auth.repository import EmailTokenRepository, RecoveryRepository
from mambo.auth.tokens import hash_of
from mambo.clock import Clock
from mambo.database.session import Transactions
from mambo.errors import DependencyFailed, Unavailable
from mambo.jobs import Handler, Job, Retries
from mambo.users.repository import Credential

log = structlog.get_logger(__name__)


class EmailTemplate(Struct, frozen=True):
    """An e-mail's subject and template, the page of the web client that it links to, and how long the link works."""

    subject: str
    template: str
    page: str
    lifetime: timedelta


EMAIL_TEMPLATES = {
    TokenPurpose.RESET: EmailTemplate("Set a new password", "reset", "reset-password", timedelta(minutes=60)),
    TokenPurpose.VERIFY: EmailTemplate("Confirm your e-mail address", "verify", "verify-email", timedelta(hours=24)),
}


RETRIES = Retries(longest=timedelta(minutes=10), attempts=8)  # about half an hour, because links are short-lived


class SendResetLink(Job, frozen=True):
    """Send a link to set a new password, if the address has an active account."""

    email: str


class SendVerificationLink(Job, frozen=True):
    """Send a link to confirm a person's address."""

    user_id: UUID


class EmailNotifier:
    """Sends the e-mails with a token.

    The account is looked up here and not in the request, so that the response takes the same time whether or not the
    address has an account. The e-mails contain nothing that a person has entered, because anyone can register with
    someone else's address.
    """

    def __init__(
        self,
        transactions: Transactions,
        accounts: RecoveryRepository,
        mailer: Mailer | None,
        web_address: str,
        clock: Clock,
    ) -> None:
        self.transactions, self.accounts, self.mailer = transactions, accounts, mailer
        self.web_address, self.clock = web_address, clock
        self._templates = Environment(
            loader=PackageLoader("mambo.auth"),
            autoescape=select_autoescape(),
            undefined=StrictUndefined,
            trim_blocks=True,
            keep_trailing_newline=True,
        )

    def handlers(self) -> list[Handler[Any]]:
        """Return the handlers of the jobs."""
        return [
            Handler(SendResetLink, self.send_reset_link, RETRIES),
            Handler(SendVerificationLink, self.send_verification_link, RETRIES),
        ]

    def require_mailer(self) -> Mailer:
        """Return the mailer.

        Raises:
            Unavailable: no mailer is configured; the code is `not_configured`.

        """
        if self.mailer is None:
            raise Unavailable(
                "This school cannot send e-mails, because SMTP_URL and MAIL_FROM are not set: ask it to help you.",
                code="not_configured",
            )
        return self.mailer

    async def send_reset_link(self, job: SendResetLink) -> None:
        """Send a link with which a new password can be set within an hour.

        Raises:
            DependencyTimedOut, Unavailable: the mail server failed for now.

        """
        account = await self.accounts.find_active(job.email)
        if account is not None:
            await self._send(self.require_mailer(), TokenPurpose.RESET, account)

    async def send_verification_link(self, job: SendVerificationLink) -> None:
        """Send a link that confirms the address within a day; without a mailer do nothing.

        Raises:
            DependencyTimedOut, Unavailable: the mail server failed for now.

        """
        account = await self.accounts.find(job.user_id)
        if account is not None and self.mailer is not None:
            await self._send(self.mailer, TokenPurpose.VERIFY, account)

    async def _send(self, mailer: Mailer, purpose: TokenPurpose, account: Credential) -> None:
        """Store a token, send it, and then delete the person's older tokens for the purpose."""
        token, now = secrets.token_urlsafe(32), self.clock()
        row = EmailToken(
            hash=hash_of(token),
            user_id=account.id,
            purpose=purpose,
            expires_at=now + EMAIL_TEMPLATES[purpose].lifetime,
            created_at=now,
        )
        async with self.transactions.begin() as session:
            await EmailTokenRepository(session).add(row)
        try:
            await mailer.send(self._render(purpose, account.email, token))
        except DependencyFailed as error:  # it would fail again
            log.error("mail not sent", purpose=purpose, user_id=str(account.id), reason=error.detail)  # noqa: TRY400 - the reason is enough
            return
        async with self.transactions.begin() as session:
            await EmailTokenRepository(session).remove_others(account.id, purpose, row.hash)

    def _render(self, purpose: TokenPurpose, email: str, token: str) -> Mail:
        template = EMAIL_TEMPLATES[purpose]
        link = f"{self.web_address}/{template.page}?token={token}"
        text, html = (
            self._templates.get_template(f"{template.template}.{kind}").render(subject=template.subject, link=link)
            for kind in ("txt", "html")
        )
        return Mail(email, template.subject, text, html)
