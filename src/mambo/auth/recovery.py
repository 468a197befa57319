"""Forgotten passwords, and the confirmation of e-mail addresses."""

from collections.abc import Awaitable, Callable
from datetime import datetime
from functools import partial
from uuid import UUID

import structlog
from litestar.di import NamedDependency
from sqlalchemy.ext.asyncio import AsyncSession

from mambo.auth.emails import EmailNotifier, SendResetLink, SendVerificationLink
from mambo.auth.models import TokenPurpose
from mambo.auth.passwords import Passwords, require_good_password
from mambo.auth.repository import EmailTokenRepository, RecoveryRepository
from mambo.auth.service import SessionService
from mambo.auth.tokens import hash_of
from mambo.database.pool import Pool
from mambo.errors import Conflict, FieldProblem, Invalid
from mambo.jobs import Job, enqueue
from mambo.limits.rules import FORGOT_ACCOUNT, SIGN_IN_ACCOUNT, VERIFY_ACCOUNT
from mambo.limits.service import RateLimiter
from mambo.users.repository import UserRepository
from mambo.users.rules import normalize_email

log = structlog.get_logger(__name__)


class RecoveryService:
    """Decides who is sent a token by e-mail, and what the token does when it is returned."""

    def __init__(  # noqa: PLR0913, PLR0917 - one for each repository and port
        self,
        enqueue: Callable[[Job], Awaitable[None]],
        credentials: RecoveryRepository,
        tokens: EmailTokenRepository,
        users: UserRepository,
        sessions: SessionService,
        passwords: Passwords,
        limiter: RateLimiter,
        emails: EmailNotifier,
        now: datetime,
    ) -> None:
        self.enqueue = enqueue
        self.credentials, self.tokens, self.users, self.sessions = credentials, tokens, users, sessions
        self.passwords, self.limiter, self.emails, self.now = passwords, limiter, emails, now

    async def request_reset(self, email: str) -> None:
        """Send a link to set a new password, if the address has an active account.

        Raises:
            TooMany: this was requested too often, whether or not there is an account.
            Unavailable: no e-mail can be sent.

        """
        self.emails.require_mailer()
        await self.limiter.hit(FORGOT_ACCOUNT, normalize_email(email))
        await self.enqueue(SendResetLink(normalize_email(email)))

    async def request_verification(self, user_id: UUID) -> None:
        """Send a link to confirm a person's address.

        Raises:
            Conflict: the address is confirmed.
            TooMany: this was requested too often.
            Unavailable: no e-mail can be sent.

        """
        self.emails.require_mailer()
        user = await self.credentials.get(user_id)
        if user.email_verified_at is not None:
            raise Conflict("Your e-mail address is confirmed already.", code="already_verified")
        await self.limiter.hit(VERIFY_ACCOUNT, user.email)
        await self.enqueue(SendVerificationLink(user_id))

    async def reset_password(self, token: str, new_password: str) -> None:
        """Set a new password and end all sessions of the person; this also confirms the address.

        The token is checked before the password is hashed, so that a useless one costs no hashing, and used after it.

        Raises:
            Invalid: the token is wrong, used or expired; or the password is too easily guessed, and the token stays.
            Unavailable: too many passwords are waiting to be hashed.

        """
        owner = await self.credentials.find_by_reset_token(hash_of(token), self.now)
        if owner is None:
            raise useless_link()
        require_good_password("new_password", new_password, owner.email)
        password_hash = await self.passwords.hash(new_password)
        # Before the session's first statement, because counting may wait for another connection.
        await self.limiter.clear(SIGN_IN_ACCOUNT, owner.email)
        user_id = await self._use(TokenPurpose.RESET, token)
        await self.users.change(user_id, {"password_hash": password_hash})
        await self.sessions.end_all(user_id)
        log.info("auth.password_reset", user_id=str(user_id))

    async def verify_email(self, token: str) -> None:
        """Store that the token's owner has confirmed their address.

        Raises:
            Invalid: the token is wrong, used or expired.

        """
        user_id = await self._use(TokenPurpose.VERIFY, token)
        log.info("auth.email_verified", user_id=str(user_id))

    async def _use(self, purpose: TokenPurpose, token: str) -> UUID:
        user_id = await self.tokens.use(purpose, hash_of(token), self.now)
        if user_id is None:
            raise useless_link()
        await self.tokens.remove_others(user_id, purpose, hash_of(token))
        await self.users.confirm_email(user_id, self.now)
        return user_id


def useless_link() -> Invalid:
    return Invalid(
        "This link is incomplete, too old or was used before: ask for a new e-mail.",
        code="useless_token",
        errors=[FieldProblem("token", "is wrong, too old or was used before", "useless_token")],
    )


def provide_recovery_service(
    session: NamedDependency[AsyncSession],
    pool: NamedDependency[Pool],
    sessions: NamedDependency[SessionService],
    passwords: NamedDependency[Passwords],
    limiter: NamedDependency[RateLimiter],
    emails: NamedDependency[EmailNotifier],
    now: NamedDependency[datetime],
) -> RecoveryService:
    return RecoveryService(
        partial(enqueue, session),
        RecoveryRepository(pool),
        EmailTokenRepository(session),
        UserRepository(session),
        sessions,
        passwords,
        limiter,
        emails,
        now,
    )
