"""Registration, sign-in, and the end of sessions."""

from datetime import datetime
from functools import partial
from typing import Any
from uuid import UUID

import structlog
from litestar import Request
from litestar.di import NamedDependency
from msgspec import Struct
from sqlalchemy.ext.asyncio import AsyncSession

from mambo.auth.emails import SendVerificationLink
from mambo.auth.models import AuthSession
from mambo.auth.passwords import HashingSlot, Passwords, require_good_password
from mambo.auth.principals import ForgetPrincipal, PrincipalCache
from mambo.auth.repository import RefreshTokenRepository, SessionRepository
from mambo.auth.rules import (
    SESSION_LIFETIME,
    device_name,
    network_of,
    refresh_token_end,
    require_timezone,
)
from mambo.auth.schemas import Credentials, PasswordChange, Registration, Token
from mambo.auth.tokens import Claims, TokenIssuer
from mambo.database.pool import Pool
from mambo.database.session import Transactions
from mambo.errors import Conflict, Invalid, NotFound, NotSignedIn
from mambo.game.models import ActivityReason
from mambo.game.repository import ActivityRepository
from mambo.jobs.queue import enqueue
from mambo.limits.rules import SIGN_IN_ACCOUNT, SIGN_IN_ADDRESS, SIGN_IN_ALL
from mambo.limits.service import RateLimiter, address_of
from mambo.users.models import User
from mambo.users.repository import Credential, CredentialRepository, UserRepository
from mambo.users.rules import normalize_email, require_email
from mambo.web.principal import Principal, Role

log = structlog.get_logger(__name__)

ATTEMPTS = 3  # the stored hash may change between its check and the sign-in
WRONG_CREDENTIALS = "E-mail or password is wrong."


class Device(Struct, frozen=True):
    """Where a sign-in comes from: the client's name, its network, and the address by which limits count."""

    name: str
    network: str | None
    address: str


class SignInService:
    """Opens sessions, in transactions of its own: none is open while a password is hashed."""

    def __init__(
        self,
        transactions: Transactions,
        credentials: CredentialRepository,
        passwords: Passwords,
        tokens: TokenIssuer,
        limiter: RateLimiter,
        device: Device,
        now: datetime,
    ) -> None:
        self.transactions, self.credentials, self.passwords = transactions, credentials, passwords
        self.tokens, self.limiter, self.device, self.now = tokens, limiter, device, now

    async def register(self, data: Registration) -> Token:
        """Create an account, sign it in, and send a link to confirm its address.

        Raises:
            Conflict: the e-mail address has an account.
            Invalid: the address or the time zone cannot be used, or the password is too easily guessed.
            Unavailable: too many passwords are waiting to be hashed.

        """
        user = await create_user(data, self.passwords)
        async with self.transactions.begin() as session:
            users = UserRepository(session)
            await users.add_account(user, timezone=data.timezone or "UTC", level_tag=data.current_level_tag)
            await enqueue(session, SendVerificationLink(user.id))
            return await self._open_session(session, user.id)

    async def sign_in(self, credentials: Credentials) -> Token:
        """Sign in with an e-mail address and a password.

        Raises:
            NotSignedIn: unknown address, wrong password or disabled account, which look the same.
            TooMany: too many attempts failed.
            Unavailable: too many passwords are waiting to be checked.

        """
        email = normalize_email(credentials.email)
        counted = ((SIGN_IN_ADDRESS, self.device.address), (SIGN_IN_ACCOUNT, email), (SIGN_IN_ALL, ""))
        for _ in range(ATTEMPTS):
            # A request that gets no slot is refused before it costs a statement.
            with self.passwords.slot() as slot:
                async with self.limiter.attempt(*counted):
                    user, new_hash = await self._check(email, credentials.password, slot)
            # If the password was changed after the check, the change wins.
            async with self.transactions.begin() as session:
                if await UserRepository(session).lock_with_password(user.id, user.password_hash, new_hash=new_hash):
                    token = await self._open_session(session, user.id)
                    await SessionRepository(session).end_surplus(user.id, self.now)
                    return token
        raise NotSignedIn(WRONG_CREDENTIALS)

    async def _check(self, email: str, password: str, slot: HashingSlot) -> tuple[Credential, str | None]:
        """Return the account with this password, and a hash to store if the stored one is outdated."""
        user = await self.credentials.find_active(email)
        checked = await slot.check(user.password_hash if user else None, password)
        if user is None or not checked.is_right:
            raise NotSignedIn(WRONG_CREDENTIALS)
        return user, checked.new_hash

    async def _open_session(self, session: AsyncSession, user_id: UUID) -> Token:
        row = AuthSession(
            user_id=user_id,
            device=self.device.name,
            ip_prefix=self.device.network,
            last_seen_at=self.now,
            expires_at=self.now + SESSION_LIFETIME,
        )
        await SessionRepository(session).add(row)
        refresh_token = self.tokens.refresh.first()
        end = refresh_token_end(self.now, row.expires_at)
        await RefreshTokenRepository(session).store(refresh_token, row.id, end)
        await ActivityRepository(session).record(user_id, ActivityReason.SIGN_IN, self.now)
        return self.tokens.issue(Claims(user_id, row.id), refresh_token, self.now, row.expires_at)


class SessionService:
    """Ends sessions, and changes a person's own password."""

    def __init__(
        self,
        sessions: SessionRepository,
        users: UserRepository,
        credentials: CredentialRepository,
        passwords: Passwords,
        forget_principal: ForgetPrincipal,
        now: datetime,
    ) -> None:
        self.sessions, self.users, self.credentials = sessions, users, credentials
        self.passwords, self.forget_principal, self.now = passwords, forget_principal, now

    async def end(self, session_id: UUID, principal: Principal) -> None:
        """End one of the person's own sessions; an admin may end anyone's.

        Raises:
            NotFound: there is no such live session.

        """
        owner = None if principal.role is Role.ADMIN else principal.user_id
        user_id = await self.sessions.end(session_id, self.now, of=owner)
        if user_id is None:
            raise NotFound(self.sessions.label)
        self.forget_principal(user_id)

    async def end_all(self, user_id: UUID, *, keep: UUID | None = None) -> None:
        """End all sessions of a person, except `keep`."""
        await self.sessions.end_all(user_id, self.now, keep=keep)
        self.forget_principal(user_id)

    async def change_password(self, data: PasswordChange, principal: Principal) -> None:
        """Change the person's own password, and end their other sessions.

        Raises:
            Conflict: the password was changed at the same moment.
            Invalid: the current password is wrong, or the new one is too easily guessed.
            Unavailable: too many passwords are waiting to be checked.

        """
        user = await self.credentials.get(principal.user_id)
        require_good_password("new_password", data.new_password, user.email)
        if not (await self.passwords.check(user.password_hash, data.current_password)).is_right:
            raise Invalid.field("current_password", "is wrong", "wrong_password")
        new_hash = await self.passwords.hash(data.new_password)
        if not await self.users.lock_with_password(user.id, user.password_hash, new_hash=new_hash):
            raise Conflict("The password was changed at the same moment: sign in again.")
        await self.end_all(principal.user_id, keep=principal.session_id)


async def create_user(data: Registration, passwords: Passwords, role: Role = Role.USER) -> User:
    """Return a new account that is not stored yet, with its password hashed.

    Raises:
        Invalid: the address or the time zone cannot be used, or the password is too easily guessed.
        Unavailable: too many passwords are waiting to be hashed.

    """
    if data.timezone is not None:
        require_timezone(data.timezone)
    email = require_email("email", data.email)
    require_good_password("password", data.password, email)
    return User(
        email=email,
        password_hash=await passwords.hash(data.password),
        first_name=data.first_name.strip(),
        last_name=data.last_name.strip(),
        role=role,
    )


def device_of(request: Request[Any, Any, Any]) -> Device:
    host = request.client.host if request.client else ""
    return Device(device_name(request.headers.get("user-agent", "")), network_of(host), address_of(request))


def provide_sign_in_service(
    request: Request[Any, Any, Any],
    transactions: NamedDependency[Transactions],
    pool: NamedDependency[Pool],
    passwords: NamedDependency[Passwords],
    token_issuer: NamedDependency[TokenIssuer],
    limiter: NamedDependency[RateLimiter],
    now: NamedDependency[datetime],
) -> SignInService:
    credentials = CredentialRepository(pool)
    return SignInService(transactions, credentials, passwords, token_issuer, limiter, device_of(request), now)


def provide_session_service(
    session: NamedDependency[AsyncSession],
    pool: NamedDependency[Pool],
    passwords: NamedDependency[Passwords],
    principals: NamedDependency[PrincipalCache],
    now: NamedDependency[datetime],
) -> SessionService:
    return SessionService(
        SessionRepository(session),
        UserRepository(session),
        CredentialRepository(pool),
        passwords,
        partial(principals.forget_after_commit, session),
        now,
    )
