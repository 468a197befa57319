"""Registration, sign-in, refresh, and the end of sessions."""

from datetime import datetime
from functools import partial
from typing import Any
from uuid import UUID

import structlog
from litestar import Request
from litestar.di import NamedDependency
from msgspec import Struct
from sqlalchemy.ext.asyncio import AsyncSession

from mambo.auth.models import AuthSession, RefreshToken
from mambo.auth.passwords import HashingSlot, Passwords, require_good_password
from mambo.auth.principals import ForgetPrincipal, PrincipalCache
from mambo.auth.repository import RefreshTokenRepository, RefreshTokenState, SessionRepository
from mambo.auth.rules import (
    SESSION_LIFETIME,
    device_name,
    is_reuse,
    network_of,
    refresh_token_end,
    require_timezone,
)
from mambo.auth.schemas import Credentials, PasswordChange, Registration, Token
from mambo.auth.tokens import SIGN_IN_AGAIN, Claims, TokenIssuer, hash_of
from mambo.database.pool import Pool
from mambo.database.session import Transactions
from mambo.errors import Conflict, Invalid, NotFound, NotSignedIn
from mambo.game.models import ActivityReason
from mambo.game.repository import ActivityRepository
from mambo.limits.rules import REFRESH, SIGN_IN_ACCOUNT, SIGN_IN_ADDRESS, SIGN_IN_ALL
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

    async def register(self, data: Registration) -> tuple[User, Token]:
        """Create an account and sign it in.

        Raises:
            Conflict: the e-mail address has an account.
            Invalid: the address or the time zone cannot be used, or the password is too easily guessed.
            Unavailable: too many passwords are waiting to be hashed.

        """
        user = await create_user(data, self.passwords)
        async with self.transactions.begin() as session:
            users = UserRepository(session)
            await users.add_account(user, timezone=data.timezone or "UTC", level_tag=data.current_level_tag)
            return user, await self._open_session(session, user.id)

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
        await RefreshTokenRepository(session).add(refresh_token_row(refresh_token, row.id, self.now, row.expires_at))
        await ActivityRepository(session).record(user_id, ActivityReason.SIGN_IN, self.now)
        return self.tokens.issue(Claims(user_id, row.id), refresh_token, self.now, row.expires_at)


class RefreshService:
    """Exchanges refresh tokens, in transactions of its own: a reuse is refused, and still ends the session."""

    def __init__(
        self,
        transactions: Transactions,
        tokens: TokenIssuer,
        principals: PrincipalCache,
        limiter: RateLimiter,
        now: datetime,
    ) -> None:
        self.transactions, self.tokens, self.principals = transactions, tokens, principals
        self.limiter, self.now = limiter, now

    async def refresh(self, token: str) -> Token:
        """Return new tokens for a refresh token; a repeated request gets the same refresh token again.

        A token that is used again too late, or after its child was used, was stolen: its session ends.

        Raises:
            NotSignedIn: the token is unknown, expired or was used, or its session has ended.
            TooMany: the session was refreshed too often; the token can still be used.

        """
        child = self.tokens.refresh.child_of(token)
        async with self.transactions.begin() as session:
            session_id = await RefreshTokenRepository(session).use(hash_of(token), self.now)
            if session_id is not None:
                return await self._exchange(session, session_id, child)
            state = await RefreshTokenRepository(session).get_state(hash_of(token), hash_of(child), self.now)
        return await self._repeat(state, child)

    async def _exchange(self, session: AsyncSession, session_id: UUID, child: str) -> Token:
        live = await SessionRepository(session).record_use(session_id, self.now)
        if live is None:
            raise NotSignedIn(SIGN_IN_AGAIN)
        await self.limiter.hit(REFRESH, str(session_id))
        user_id, session_end = live
        await RefreshTokenRepository(session).add(refresh_token_row(child, session_id, self.now, session_end))
        return self.tokens.issue(Claims(user_id, session_id), child, self.now, session_end)

    async def _repeat(self, state: RefreshTokenState | None, child: str) -> Token:
        """Return the tokens of a lost response again, or end the session of a stolen token."""
        if state is None or state.used_at is None or not state.is_session_live:
            raise NotSignedIn(SIGN_IN_AGAIN)
        if is_reuse(state.used_at, self.now, is_child_unused=state.is_child_unused):
            await self._end_session(state)
            raise NotSignedIn(SIGN_IN_AGAIN)
        if state.is_child_unused is None:  # it was made with another secret key, and cannot be made again
            raise NotSignedIn(SIGN_IN_AGAIN)
        return self.tokens.issue(Claims(state.user_id, state.session_id), child, self.now, state.session_end)

    async def _end_session(self, state: RefreshTokenState) -> None:
        async with self.transactions.begin() as session:
            self.principals.forget_after_commit(session, state.user_id)
            await SessionRepository(session).end(state.session_id, self.now)
        log.warning("auth.refresh_reuse", user_id=str(state.user_id), session_id=str(state.session_id))


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


def refresh_token_row(token: str, session_id: UUID, now: datetime, session_end: datetime) -> RefreshToken:
    end = refresh_token_end(now, session_end)
    return RefreshToken(hash=hash_of(token), session_id=session_id, expires_at=end, used_at=None)


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


def provide_refresh_service(
    transactions: NamedDependency[Transactions],
    token_issuer: NamedDependency[TokenIssuer],
    principals: NamedDependency[PrincipalCache],
    limiter: NamedDependency[RateLimiter],
    now: NamedDependency[datetime],
) -> RefreshService:
    return RefreshService(transactions, token_issuer, principals, limiter, now)


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
