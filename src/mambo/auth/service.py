"""Registering and signing in."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from ipaddress import ip_address, ip_network
from typing import Any

from litestar import Request
from litestar.datastructures import State
from litestar.di import NamedDependency
from msgspec import Struct
from sqlalchemy.ext.asyncio import AsyncSession

from mambo.auth.models import AuthSession
from mambo.auth.passwords import Passwords
from mambo.auth.repository import SessionRepository
from mambo.auth.schemas import Credentials, Registration, Token
from mambo.auth.tokens import AccessTokens, Claims
from mambo.errors import Invalid, NotSignedIn
from mambo.game import rules
from mambo.game.repository import ActivityRepository
from mambo.users.models import User
from mambo.users.repository import UserRepository

DEVICE_LENGTH = 120


class Device(Struct, frozen=True):
    """Where a sign-in comes from: the client's own name, and its network (IPv4 /24, IPv6 /64)."""

    name: str
    ip_prefix: str | None


class SignIn:
    """Turns credentials into sessions."""

    def __init__(
        self,
        session: AsyncSession,
        reads: Callable[[], AbstractAsyncContextManager[AsyncSession]],
        passwords: Passwords,
        tokens: AccessTokens,
        device: Device,
        now: datetime,
    ) -> None:
        self.users = UserRepository(session)
        self.sessions = SessionRepository(session)
        self.activity = ActivityRepository(session)
        self.reads, self.passwords, self.tokens = reads, passwords, tokens
        self.device, self.now = device, now

    async def register(self, data: Registration) -> Token:
        """Make an account and sign it in.

        Raises:
            Conflict: the e-mail has an account.
            Invalid: the time zone is unknown.

        """
        if data.timezone is not None and not rules.is_timezone(data.timezone):
            raise Invalid.field("timezone", "is not a time zone of the IANA database, such as America/New_York")
        user = User(
            email=normalized(data.email),
            password_hash=await self.passwords.hash(data.password),
            first_name=data.first_name.strip(),
            last_name=data.last_name.strip(),
        )
        level_tag = data.current_level_tag
        await self.users.add_account(user, timezone=data.timezone or "UTC", level_tag=level_tag)
        return await self._open_session(user)

    async def sign_in(self, credentials: Credentials) -> Token:
        """Sign in; no connection is held while the password is checked.

        Raises:
            NotSignedIn: unknown e-mail, wrong password or disabled account, all alike.

        """
        async with self.reads() as session:
            user = await UserRepository(session).get_active_by_email(normalized(credentials.email))
        if not await self.passwords.match(user.password_hash if user else None, credentials.password) or user is None:
            raise NotSignedIn("E-mail or password is wrong.")
        return await self._open_session(user)

    async def _open_session(self, user: User) -> Token:
        row = AuthSession(
            user_id=user.id,
            device=self.device.name,
            ip_prefix=self.device.ip_prefix,
            last_seen_at=self.now,
            expires_at=self.now + self.tokens.lifetime,
        )
        await self.sessions.add(row)
        await self.activity.record(user.id, self.now)
        return Token(
            access_token=self.tokens.issue(Claims(user.id, row.id), self.now),
            expires_in=int(self.tokens.lifetime.total_seconds()),
        )


def normalized(email: str) -> str:
    return email.strip().lower()


def device_of(request: Request[Any, Any, Any]) -> Device:
    name = "".join(c for c in request.headers.get("user-agent", "") if c.isprintable())[:DEVICE_LENGTH] or "unknown"
    try:
        address = ip_address(request.client.host if request.client else "")
    except ValueError:
        return Device(name, None)
    return Device(name, str(ip_network((address, 24 if address.version == 4 else 64), strict=False)))  # noqa: PLR2004


async def provide_sign_in(
    request: Request[Any, Any, Any],
    state: State,
    session: NamedDependency[AsyncSession],
    now: NamedDependency[datetime],
) -> SignIn:
    return SignIn(session, state.reads, state.passwords, state.tokens, device_of(request), now)
