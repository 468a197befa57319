"""Registering, signing in, staying signed in, and ending it."""

from datetime import datetime, timedelta
from ipaddress import ip_address, ip_network
from typing import Any
from uuid import UUID

import structlog
from litestar import Request
from litestar.di import NamedDependency
from msgspec import Struct
from sqlalchemy.ext.asyncio import AsyncSession

from mambo.auth.models import AuthSession, RefreshToken
from mambo.auth.passwords import HashingSlot, Passwords, require_good_password
from mambo.auth.principals import PrincipalCache
from mambo.auth.repository import IDLE, RefreshRepository, RefreshTokenState, SessionRepository
from mambo.auth.schemas import Credentials, PasswordChange, Registration, Session, Token
from mambo.auth.tokens import SIGN_IN_AGAIN, AccessTokens, Claims, RefreshTokens, hash_of
from mambo.database.pool import Pool
from mambo.database.session import Transactions
from mambo.errors import Conflict, Invalid, NotFound, NotSignedIn
from mambo.game import rules
from mambo.game.models import ActivityReason
from mambo.game.repository import ActivityRepository
from mambo.limits.rules import REFRESH, SIGN_IN_ACCOUNT, SIGN_IN_ADDRESS, SIGN_IN_ALL
from mambo.limits.service import RateLimiter, address_of
from mambo.users.models import User
from mambo.users.repository import CredentialRepository, UserRepository
from mambo.users.rules import normalize_email, require_email
from mambo.web.principal import Principal, Role

log = structlog.get_logger(__name__)

SESSION_LIFETIME = timedelta(days=90)
GRACE = timedelta(seconds=10)
ATTEMPTS = 3  # should another device renew the stored hash, or someone change the password, meanwhile
WRONG = "E-mail or password is wrong."
DEVICE_LENGTH = 120


class Device(Struct, frozen=True):
    """Where a sign-in comes from: the client's own name, its network (IPv4 /24, IPv6 /64), and what limits count."""

    name: str
    ip_prefix: str | None
    address: str


class SignInService:
    """Turns credentials into sessions; nothing is held while a password is hashed, and most that fail cost little."""

    def __init__(
        self,
        transactions: Transactions,
        credentials: CredentialRepository,
        passwords: Passwords,
        tokens: "TokenIssuer",
        limiter: RateLimiter,
        device: Device,
        now: datetime,
    ) -> None:
        self.transactions, self.credentials, self.passwords = transactions, credentials, passwords
        self.tokens, self.limits, self.device, self.now = tokens, limiter, device, now

    async def register(self, data: Registration) -> tuple[UUID, Token]:
        """Make an account and sign it in; answers whose it is too.

        Raises:
            Conflict: the e-mail has an account.
            Invalid: the time zone is unknown, or the password is a common one.

        """
        if data.timezone is not None and not rules.is_timezone(data.timezone):
            raise Invalid.field("timezone", "is not a time zone of the IANA database, such as America/New_York")
        email = require_email("email", data.email)
        require_good_password("password", data.password, email)
        user = User(
            email=email,
            password_hash=await self.passwords.hash(data.password),
            first_name=data.first_name.strip(),
            last_name=data.last_name.strip(),
        )
        level_tag = data.current_level_tag
        async with self.transactions.begin() as session:
            await UserRepository(session).add_account(user, timezone=data.timezone or "UTC", level_tag=level_tag)
            return user.id, await self._open_session(session, user.id)

    async def sign_in(self, credentials: Credentials) -> Token:
        """Sign in.

        Raises:
            NotSignedIn: unknown e-mail, wrong password or disabled account, all alike.
            TooMany: too many attempts failed.
            Unavailable: too many passwords wait to be checked.

        """
        email = normalize_email(credentials.email)
        counted = ((SIGN_IN_ADDRESS, self.device.address), (SIGN_IN_ACCOUNT, email), (SIGN_IN_ALL, ""))
        for _ in range(ATTEMPTS):
            # Whoever finds no place is sent away before anything is counted or asked.
            with self.passwords.place() as place:
                async with self.limits.attempt(*counted):
                    user_id, stored, new_hash = await self._check(email, credentials.password, place)
            # The account is locked as it was when the password was checked, so that a change of it meanwhile wins.
            async with self.transactions.begin() as session:
                if await UserRepository(session).confirm(user_id, stored, new_hash):
                    token = await self._open_session(session, user_id)
                    await SessionRepository(session).end_surplus(user_id, self.now)
                    return token
        raise NotSignedIn(WRONG)

    async def _check(self, email: str, password: str, place: HashingSlot) -> tuple[UUID, str, str | None]:
        """The person whose password it is, its stored hash, and one to store in its place."""
        user_id, stored = await self.credentials.get(email) or (None, None)
        checked = await place.check(stored, password)
        if user_id is None or stored is None or not checked.is_right:
            raise NotSignedIn(WRONG)
        return user_id, stored, checked.new_hash

    async def _open_session(self, session: AsyncSession, user_id: UUID) -> Token:
        row = AuthSession(
            user_id=user_id,
            device=self.device.name,
            ip_prefix=self.device.ip_prefix,
            last_seen_at=self.now,
            expires_at=self.now + SESSION_LIFETIME,
        )
        await SessionRepository(session).add(row)
        refresh_token = self.tokens.refresh.first()
        await RefreshRepository(session).add(refresh_row(refresh_token, row.id, self.now, row.expires_at))
        await ActivityRepository(session).record(user_id, ActivityReason.SIGN_IN, self.now)
        return self.tokens.make(Claims(user_id, row.id), refresh_token, self.now, row.expires_at)


class TokenIssuer(Struct, frozen=True):
    """What tokens are made with."""

    access: AccessTokens
    refresh: RefreshTokens

    def make(self, claims: Claims, refresh_token: str, now: datetime, session_expires_at: datetime) -> Token:
        access_token, seconds = self.access.issue(claims, now, session_expires_at)
        return Token(
            access_token=access_token,
            expires_in=seconds,
            refresh_token=refresh_token,
            refresh_expires_in=int((refresh_end(now, session_expires_at) - now).total_seconds()),
        )


class RefreshService:
    """Trades a refresh token for its child; in transactions of its own, for a reuse must stay seen though it fails."""

    def __init__(
        self,
        transactions: Transactions,
        tokens: TokenIssuer,
        principals: PrincipalCache,
        limiter: RateLimiter,
        now: datetime,
    ) -> None:
        self.transactions, self.tokens, self.principals = transactions, tokens, principals
        self.limits, self.now = limiter, now

    async def refresh(self, token: str) -> Token:
        """New tokens for a refresh token that is used for the first time, or again within ten seconds.

        Whoever uses one later, or after its child was used, has it from somewhere: the session ends.

        Raises:
            NotSignedIn: the token is unknown, over or was used before, or its session has ended.
            TooMany: the session was refreshed too often; the token can still be used.

        """
        child = self.tokens.refresh.child_of(token)
        async with self.transactions.begin() as session:
            tokens = RefreshRepository(session)
            session_id = await tokens.use(hash_of(token), self.now)
            if session_id is not None:
                owner = await tokens.prolong(session_id, self.now)
                if owner is None:
                    raise NotSignedIn(SIGN_IN_AGAIN)
                await self.limits.hit(REFRESH, str(session_id))
                user_id, expires_at = owner
                await tokens.add(refresh_row(child, session_id, self.now, expires_at))
                return self.tokens.make(Claims(user_id, session_id), child, self.now, expires_at)
            seen = await tokens.get_presented(hash_of(token), hash_of(child), self.now)
        if seen is None or seen.used_at is None or not seen.is_session_live:
            raise NotSignedIn(SIGN_IN_AGAIN)
        if self.now - seen.used_at <= GRACE and seen.is_child_unused is not False:
            if seen.is_child_unused is None:  # the secret key was replaced meanwhile: the child is not to be had again
                raise NotSignedIn(SIGN_IN_AGAIN)
            return self.tokens.make(Claims(seen.user_id, seen.session_id), child, self.now, seen.session_expires_at)
        await self._end(seen)
        raise NotSignedIn(SIGN_IN_AGAIN)

    async def _end(self, seen: RefreshTokenState) -> None:
        async with self.transactions.begin() as session:
            self.principals.forget_after_commit(session, seen.user_id)
            await SessionRepository(session).end(seen.session_id, self.now, of=seen.user_id)
        log.warning("auth.refresh_reuse", user_id=str(seen.user_id), session_id=str(seen.session_id))


class SessionService:
    """A person's own sessions, and as an admin anyone's."""

    def __init__(
        self,
        session: AsyncSession,
        transactions: Transactions,
        passwords: Passwords,
        principals: PrincipalCache,
        now: datetime,
    ) -> None:
        self.session, self.transactions, self.now = session, transactions, now
        self.sessions = SessionRepository(session)
        self.passwords, self.principals = passwords, principals

    async def get(self, user_id: UUID, current: UUID | None = None) -> list[Session]:
        """The sessions in use, the last seen first."""
        return [
            Session(row.id, row.device, row.last_seen_at, row.created_at, current=row.id == current)
            for row in await self.sessions.get_live(user_id, self.now)
        ]

    async def end(self, session_id: UUID, who: Principal) -> None:
        """End a session of one's own, or as an admin anyone's; NotFound without."""
        owner = await self.sessions.end(session_id, self.now, of=None if who.role is Role.ADMIN else who.user_id)
        if owner is None:
            raise NotFound("session")
        self.principals.forget_after_commit(self.session, owner)

    async def end_all(self, user_id: UUID, *, keep: UUID | None = None) -> None:
        await self.sessions.end_all(user_id, self.now, keep=keep)
        self.principals.forget_after_commit(self.session, user_id)

    async def change_password(self, data: PasswordChange, who: Principal) -> None:
        """Change one's own password; every other session ends.

        Raises:
            Invalid: the current password is wrong, or the new one is a common one.
            Unavailable: too many passwords wait to be checked.

        """
        async with self.transactions.begin() as session:
            user = await UserRepository(session).get_one(id=who.user_id)
        require_good_password("new_password", data.new_password, user.email)
        if not (await self.passwords.check(user.password_hash, data.current_password)).is_right:
            raise Invalid.field("current_password", "is wrong", "wrong_password")
        if not await UserRepository(self.session).confirm(
            user.id, user.password_hash, await self.passwords.hash(data.new_password)
        ):
            raise Conflict("The password was changed at the same moment: sign in again.")
        await self.end_all(who.user_id, keep=who.session_id)


def refresh_row(token: str, session_id: UUID, now: datetime, session_expires_at: datetime) -> RefreshToken:
    end = refresh_end(now, session_expires_at)
    return RefreshToken(hash=hash_of(token), session_id=session_id, expires_at=end, used_at=None)


def refresh_end(now: datetime, session_expires_at: datetime) -> datetime:
    """A refresh token that is not used ends after 30 days, and with its session at the latest."""
    return min(now + IDLE, session_expires_at)


def device_of(request: Request[Any, Any, Any]) -> Device:
    name = "".join(c for c in request.headers.get("user-agent", "") if c.isprintable())[:DEVICE_LENGTH] or "unknown"
    try:
        address = ip_address(request.client.host if request.client else "")
    except ValueError:
        return Device(name, None, address_of(request))
    network = ip_network((address, 24 if address.version == 4 else 64), strict=False)  # noqa: PLR2004
    return Device(name, str(network), address_of(request))


async def provide_sign_in_service(
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


async def provide_refresh_service(
    transactions: NamedDependency[Transactions],
    token_issuer: NamedDependency[TokenIssuer],
    principals: NamedDependency[PrincipalCache],
    limiter: NamedDependency[RateLimiter],
    now: NamedDependency[datetime],
) -> RefreshService:
    return RefreshService(transactions, token_issuer, principals, limiter, now)


async def provide_session_service(
    session: NamedDependency[AsyncSession],
    transactions: NamedDependency[Transactions],
    passwords: NamedDependency[Passwords],
    principals: NamedDependency[PrincipalCache],
    now: NamedDependency[datetime],
) -> SessionService:
    return SessionService(session, transactions, passwords, principals, now)
