"""E-mails that carry a token: a link to set a new password, and one to confirm an address."""

import secrets
from datetime import timedelta
from uuid import UUID

import structlog
from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from msgspec import Struct
from sqlalchemy.exc import SQLAlchemyError

from mambo.adapters.mail import Mail, Mailer
from mambo.auth.models import EmailToken, TokenPurpose
from mambo.auth.repository import EmailTokenRepository
from mambo.auth.tokens import hash_of
from mambo.clock import Clock
from mambo.database.session import Transactions
from mambo.errors import MamboError, Unavailable

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


class EmailNotifier:
    """Sends the e-mails that carry a token, after the response; a failure is logged, because no client waits for it.

    The token is created here and not in the request, so that the response takes the same time whether or not the
    address has an account. The e-mails contain nothing that a person has entered, because anyone can register with
    someone else's address.
    """

    def __init__(self, transactions: Transactions, mailer: Mailer | None, web_address: str, clock: Clock) -> None:
        self.transactions, self.mailer, self.web_address, self.clock = transactions, mailer, web_address, clock
        self._templates = Environment(
            loader=PackageLoader("mambo.auth"),
            autoescape=select_autoescape(),
            undefined=StrictUndefined,
            trim_blocks=True,
            keep_trailing_newline=True,
        )

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

    async def send_reset(self, user_id: UUID, email: str) -> None:
        """Send a link with which a new password can be set within an hour."""
        await self._send(TokenPurpose.RESET, user_id, email)

    async def send_verification(self, user_id: UUID, email: str) -> None:
        """Send a link that confirms the address within a day; without a mailer do nothing."""
        if self.mailer is not None:
            await self._send(TokenPurpose.VERIFY, user_id, email)

    async def _send(self, purpose: TokenPurpose, user_id: UUID, email: str) -> None:
        token, now = secrets.token_urlsafe(32), self.clock()
        row = EmailToken(
            user_id=user_id,
            purpose=purpose,
            hash=hash_of(token),
            expires_at=now + EMAIL_TEMPLATES[purpose].lifetime,
            created_at=now,
        )
        try:
            mailer = self.require_mailer()
            async with self.transactions.begin() as session:
                await EmailTokenRepository(session).replace(row)
            await mailer.send(self._render(purpose, email, token))
        except (MamboError, SQLAlchemyError, OSError) as error:
            reason = error.detail if isinstance(error, MamboError) else type(error).__name__
            log.error("mail not sent", purpose=purpose, user_id=str(user_id), reason=reason)  # noqa: TRY400 - said

    def _render(self, purpose: TokenPurpose, email: str, token: str) -> Mail:
        template = EMAIL_TEMPLATES[purpose]
        link = f"{self.web_address}/{template.page}?token={token}"
        text, html = (
            self._templates.get_template(f"{template.template}.{kind}").render(subject=template.subject, link=link)
            for kind in ("txt", "html")
        )
        return Mail(email, template.subject, text, html)
