"""Forgotten passwords, and the confirmation of e-mail addresses."""

from datetime import datetime
from uuid import UUID

import sqlalchemy as sa
import structlog
from litestar.di import NamedDependency
from sqlalchemy.ext.asyncio import AsyncSession

from mambo.auth.emails import EmailNotifier
from mambo.auth.models import TokenPurpose
from mambo.auth.passwords import Passwords, require_good_password
from mambo.auth.repository import EmailTokenRepository
from mambo.auth.service import SessionService
from mambo.auth.tokens import hash_of
from mambo.database.session import Transactions
from mambo.errors import Conflict, FieldProblem, Invalid
from mambo.limits.rules import FORGOT_ACCOUNT, SIGN_IN_ACCOUNT, VERIFY_ACCOUNT
from mambo.limits.service import RateLimiter
from mambo.users.models import User
from mambo.users.repository import UserRepository
from mambo.users.rules import normalize_email

log = structlog.get_logger(__name__)


class RecoveryService:
    """Whom tokens are sent to, and what they do when they come back."""

    def __init__(
        self,
        session: AsyncSession,
        transactions: Transactions,
        passwords: Passwords,
        limiter: RateLimiter,
        emails: EmailNotifier,
        sessions: SessionService,
        now: datetime,
    ) -> None:
        self.session, self.transactions, self.now = session, transactions, now
        self.passwords, self.limits, self.letters, self.sessions = passwords, limiter, emails, sessions
        self.tokens = EmailTokenRepository(session)

    async def find(self, email: str) -> User | None:
        """Whom a link to set a new password goes to.

        Raises:
            TooMany: that was asked for too often, whether or not there is an account.
            Unavailable: no mail can be sent.

        """
        self.letters.require_mailer()
        await self.limits.hit(FORGOT_ACCOUNT, normalize_email(email))
        async with self.transactions.begin() as session:
            return await UserRepository(session).get_active_by_email(normalize_email(email))

    async def find_unverified(self, user_id: UUID) -> User:
        """Whom a link to verify the address goes to.

        Raises:
            Conflict: it is verified.
            TooMany: that was asked for too often.
            Unavailable: no mail can be sent.

        """
        self.letters.require_mailer()
        async with self.transactions.begin() as session:
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
        async with self.transactions.begin() as session:
            user = await EmailTokenRepository(session).get_owner(TokenPurpose.RESET, hash_of(token), self.now)
        if user is None:
            raise useless_link()
        require_good_password("new_password", new_password, user.email)
        password_hash = await self.passwords.hash(new_password)
        # Counting may take a connection of its own, which nobody may wait for who holds one.
        await self.limits.clear(SIGN_IN_ACCOUNT, user.email)
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
        await UserRepository(self.session).change_row(user_id, User, values | {"email_verified_at": verified_at})
        return user_id


def useless_link() -> Invalid:
    return Invalid(
        "This link is incomplete, too old or was used before: ask for a new e-mail.",
        code="useless_token",
        errors=[FieldProblem("token", "is wrong, too old or was used before", "useless_token")],
    )


async def provide_recovery_service(
    session: NamedDependency[AsyncSession],
    transactions: NamedDependency[Transactions],
    passwords: NamedDependency[Passwords],
    limiter: NamedDependency[RateLimiter],
    emails: NamedDependency[EmailNotifier],
    sessions: NamedDependency[SessionService],
    now: NamedDependency[datetime],
) -> RecoveryService:
    return RecoveryService(session, transactions, passwords, limiter, emails, sessions, now)
