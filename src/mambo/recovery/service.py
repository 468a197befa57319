"""Sends tokens by e-mail, and takes them back."""

import secrets
from datetime import datetime, timedelta
from uuid import UUID

import sqlalchemy as sa
import structlog
from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from litestar.datastructures import State
from litestar.di import NamedDependency
from msgspec import Struct
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker

from mambo.adapters.mail import Mail, Mailer
from mambo.auth.passwords import Passwords, require_good_password
from mambo.auth.service import Sessions, normalized
from mambo.auth.tokens import hash_of
from mambo.clock import Clock
from mambo.errors import Conflict, Invalid, MamboError, Unavailable
from mambo.limits.rules import FORGOT_ACCOUNT, SIGN_IN_ACCOUNT, VERIFY_ACCOUNT
from mambo.limits.service import Limits
from mambo.recovery.models import EmailToken, TokenPurpose
from mambo.recovery.repository import EmailTokenRepository
from mambo.users.models import User
from mambo.users.repository import UserRepository
from mambo.validation import FieldProblem

log = structlog.get_logger(__name__)


class Letter(Struct, frozen=True):
    """What a mail is about: its template, the page of the web client it leads to, and how long its link works."""

    subject: str
    template: str
    page: str
    lifetime: timedelta


LETTERS = {
    TokenPurpose.RESET: Letter("Set a new password", "reset", "reset-password", timedelta(minutes=60)),
    TokenPurpose.VERIFY: Letter("Confirm your e-mail address", "verify", "verify-email", timedelta(hours=24)),
}


class Letters:
    """Writes the mails that carry tokens, once the response is sent: nobody can be told then, so failures are logged.

    A token is made where its mail is, and not in the request: so the answer takes as long whether there is anyone to
    write to or not. The mails hold no words of the person's own, for anyone can register another's address.
    """

    def __init__(
        self, transactions: async_sessionmaker[AsyncSession], mailer: Mailer | None, web_address: str, clock: Clock
    ) -> None:
        self.transactions, self.mailer, self.web_address, self.clock = transactions, mailer, web_address, clock
        self._templates = Environment(
            loader=PackageLoader("mambo.recovery"),
            autoescape=select_autoescape(),
            undefined=StrictUndefined,
            trim_blocks=True,
            keep_trailing_newline=True,
        )

    def require_mailer(self) -> Mailer:
        """The mailer; Unavailable with `not_configured` without."""
        if self.mailer is None:
            raise Unavailable(
                "This school cannot send e-mails, for SMTP_URL and MAIL_FROM are not set: ask it to help you.",
                code="not_configured",
            )
        return self.mailer

    async def send_reset(self, user_id: UUID, email: str) -> None:
        """Send a link with which a new password can be set within the hour."""
        await self._send(TokenPurpose.RESET, user_id, email)

    async def send_verification(self, user_id: UUID, email: str) -> None:
        """Send a link that shows within a day that the address is the person's own; without a mailer, nothing."""
        if self.mailer is not None:
            await self._send(TokenPurpose.VERIFY, user_id, email)

    async def _send(self, purpose: TokenPurpose, user_id: UUID, email: str) -> None:
        token, now = secrets.token_urlsafe(32), self.clock()
        row = EmailToken(
            user_id=user_id,
            purpose=purpose,
            hash=hash_of(token),
            expires_at=now + LETTERS[purpose].lifetime,
            created_at=now,
        )
        try:
            mailer = self.require_mailer()
            async with self.transactions.begin() as session:
                await EmailTokenRepository(session).replace(row)
            await mailer.send(self._write(purpose, email, token))
        except (MamboError, SQLAlchemyError, OSError) as error:
            reason = error.detail if isinstance(error, MamboError) else type(error).__name__
            log.error("mail not sent", purpose=purpose, user_id=str(user_id), reason=reason)  # noqa: TRY400 - said

    def _write(self, purpose: TokenPurpose, email: str, token: str) -> Mail:
        letter = LETTERS[purpose]
        link = f"{self.web_address}/{letter.page}?token={token}"
        text, html = (
            self._templates.get_template(f"{letter.template}.{kind}").render(subject=letter.subject, link=link)
            for kind in ("txt", "html")
        )
        return Mail(email, letter.subject, text, html)


class Recovery:
    """Whom tokens are sent to, and what they do when they come back."""

    def __init__(self, session: AsyncSession, state: State, now: datetime) -> None:
        self.session, self.now = session, now
        self.reads: async_sessionmaker[AsyncSession] = state.reads
        self.passwords: Passwords = state.passwords
        self.limits: Limits = state.limits
        self.letters: Letters = state.letters
        self.sessions = Sessions(session, state, now)
        self.tokens = EmailTokenRepository(session)

    async def find(self, email: str) -> User | None:
        """Whom a link to set a new password goes to.

        Raises:
            TooMany: that was asked for too often, whether or not there is an account.
            Unavailable: no mail can be sent.

        """
        self.letters.require_mailer()
        await self.limits.hit(FORGOT_ACCOUNT, normalized(email))
        async with self.reads() as session:
            return await UserRepository(session).get_active_by_email(normalized(email))

    async def find_unverified(self, user_id: UUID) -> User:
        """Whom a link to verify the address goes to.

        Raises:
            Conflict: it is verified.
            TooMany: that was asked for too often.
            Unavailable: no mail can be sent.

        """
        self.letters.require_mailer()
        async with self.reads() as session:
            user = await UserRepository(session).get_one(id=user_id)
        if user.email_verified_at is not None:
            raise Conflict("Your e-mail address is confirmed already.", code="already_verified")
        await self.limits.hit(VERIFY_ACCOUNT, user.email)
        return user

    async def reset_password(self, token: str, new_password: str) -> None:
        """Set a new password and end every session of the person; that the link arrived verifies the address.

        No connection is held while the password is hashed, and a token that is not good costs no hashing.

        Raises:
            Invalid: the token is wrong, used or over; or the password is a common one, and the token stays.
            Unavailable: too many passwords wait to be hashed.

        """
        async with self.reads() as session:
            user = await EmailTokenRepository(session).get_owner(TokenPurpose.RESET, hash_of(token), self.now)
        if user is None:
            raise useless_link()
        require_good_password("new_password", new_password, user.email)
        password_hash = await self.passwords.hash(new_password)
        # Counting may take a connection of its own, which nobody may wait for who holds one.
        await self.limits.forgive(SIGN_IN_ACCOUNT, user.email)
        await self._use(TokenPurpose.RESET, token, password_hash=password_hash)
        await self.sessions.end_all(user.id)
        log.info("auth.password_reset", user_id=str(user.id))

    async def verify_email(self, token: str) -> None:
        """Note that the address is the person's own; Invalid when the token is wrong, used or over."""
        user_id = await self._use(TokenPurpose.VERIFY, token)
        log.info("auth.email_verified", user_id=str(user_id))

    async def _use(self, purpose: TokenPurpose, token: str, **values: str) -> UUID:
        user_id = await self.tokens.use(purpose, hash_of(token), self.now)
        if user_id is None:
            raise useless_link()
        verified_at = sa.func.coalesce(User.email_verified_at, self.now)
        await UserRepository(self.session).change(user_id, User, values | {"email_verified_at": verified_at})
        return user_id


def useless_link() -> Invalid:
    return Invalid(
        "This link is incomplete, too old or was used before: ask for a new e-mail.",
        code="useless_token",
        errors=[FieldProblem("token", "is wrong, too old or was used before", "useless_token")],
    )


async def provide_recovery(
    session: NamedDependency[AsyncSession], state: State, now: NamedDependency[datetime]
) -> Recovery:
    return Recovery(session, state, now)
