"""Queries on sessions, refresh tokens and e-mailed tokens."""

from datetime import datetime
from uuid import UUID

import sqlalchemy as sa
from litestar.di import NamedDependency
from msgspec import Struct
from sqlalchemy.orm import aliased

from mambo.auth.models import AuthSession, EmailToken, RefreshToken, TokenPurpose
from mambo.auth.rules import MAX_SESSIONS, SESSION_IDLE, principal_end
from mambo.auth.schemas import Session
from mambo.auth.tokens import hash_of
from mambo.database.pool import Pool
from mambo.database.repository import Query, ReadRepository, Repository
from mambo.database.statements import Statement, param
from mambo.entitlements.models import Subscription
from mambo.entitlements.repository import is_subscription_live
from mambo.users.models import User, UserProfile
from mambo.users.repository import CREDENTIALS, Credential, CredentialRepository
from mambo.web.principal import Principal, Role


class CachedPrincipal(Struct, frozen=True):
    """A principal, the moment until which it may be cached, and when its session was last seen."""

    principal: Principal
    until: datetime
    last_seen_at: datetime


class PrincipalRow(Struct, frozen=True):
    """A live session with its account, profile and subscription."""

    user_id: UUID
    session_id: UUID
    role: Role
    is_subscribed: bool
    timezone: str
    session_end: datetime
    subscription_end: datetime | None
    last_seen_at: datetime


class RefreshTokenState(Struct, frozen=True):
    """A refresh token that cannot be used (again), its session, and whether the token that replaced it is unused.

    `is_child_unused` is None when the child is unknown.
    """

    session_id: UUID
    user_id: UUID
    used_at: datetime | None
    session_end: datetime
    is_session_live: bool
    is_child_unused: bool | None


def is_live(now: datetime | sa.BindParameter[datetime]) -> sa.ColumnElement[bool]:
    """Return the condition that a session is neither revoked nor expired."""
    return sa.and_(AuthSession.revoked_at.is_(None), AuthSession.expires_at > now)


def is_usable(
    purpose: TokenPurpose, token_hash: bytes | sa.BindParameter[bytes], now: datetime | sa.BindParameter[datetime]
) -> sa.ColumnElement[bool]:
    """Return the condition that an e-mailed token is this one, has not expired, and its owner's account is active."""
    return sa.and_(
        EmailToken.hash == token_hash,
        EmailToken.purpose == purpose,
        EmailToken.expires_at > now,
        EmailToken.user_id == User.id,
        User.is_active,
    )


NOW = param("now", sa.DateTime(timezone=True))
USER_ID = param("user_id", sa.Uuid())
SESSION_ID = param("session_id", sa.Uuid())

PRINCIPAL = Query(
    sa.select(
        AuthSession.user_id,
        AuthSession.id.label("session_id"),
        User.role,
        is_subscription_live(NOW).label("is_subscribed"),
        UserProfile.timezone,
        AuthSession.expires_at.label("session_end"),
        Subscription.current_period_end.label("subscription_end"),
        AuthSession.last_seen_at,
    )
    .join(User, User.id == AuthSession.user_id)
    .join(UserProfile, UserProfile.user_id == User.id)
    .join(Subscription, Subscription.user_id == User.id)
    .where(AuthSession.id == SESSION_ID, AuthSession.user_id == USER_ID, User.is_active, is_live(NOW)),
    PrincipalRow,
)
RECORD_USE = Statement(
    sa.update(AuthSession).where(AuthSession.id == SESSION_ID, AuthSession.last_seen_at < NOW).values(last_seen_at=NOW)
)
SESSIONS = Query(
    sa.select(
        AuthSession.id,
        AuthSession.device,
        AuthSession.last_seen_at,
        AuthSession.created_at,
        AuthSession.id.is_not_distinct_from(param("current", sa.Uuid())).label("current"),
    )
    .where(AuthSession.user_id == USER_ID, is_live(NOW), AuthSession.last_seen_at > NOW - SESSION_IDLE)
    .order_by(AuthSession.last_seen_at.desc(), AuthSession.id.desc()),
    Session,
)
CREDENTIAL_BY_RESET_TOKEN = Query(
    CREDENTIALS.join(EmailToken, is_usable(TokenPurpose.RESET, param("token_hash", sa.LargeBinary()), NOW)),
    Credential,
)


class PrincipalRepository(ReadRepository):
    """Reads the principal of a session, for almost every request."""

    async def get(self, session_id: UUID, user_id: UUID, now: datetime) -> CachedPrincipal | None:
        """Return the principal; None when the session has ended or the account is disabled."""
        row = await self._one(PRINCIPAL, session_id=session_id, user_id=user_id, now=now)
        if row is None:
            return None
        principal = Principal(row.user_id, row.session_id, row.role, row.is_subscribed, row.timezone)
        return CachedPrincipal(principal, principal_end(row.session_end, row.subscription_end, now), row.last_seen_at)

    async def record_use(self, session_id: UUID, now: datetime) -> None:
        """Store that the session was seen; one statement without a transaction, because requests wait for it."""
        await self._reader.fetch_one(RECORD_USE, session_id=session_id, now=now)


class LiveSessionRepository(ReadRepository):
    """Lists the sessions that a person is using."""

    async def list_of(self, user_id: UUID, now: datetime, *, current: UUID | None = None) -> list[Session]:
        """Return a person's sessions, the last seen first; `current` is the id of the session to mark."""
        return await self._all(SESSIONS, user_id=user_id, now=now, current=current)


class SessionRepository(Repository[AuthSession]):
    """Stores and ends sessions."""

    model_type = AuthSession
    label = "session"

    async def record_use(self, session_id: UUID, now: datetime) -> sa.Row[UUID, datetime] | None:
        """Store that a live session was seen, and return its owner's id and its end; None when it has ended."""
        query = (
            sa.update(AuthSession)
            .where(AuthSession.id == session_id, is_live(now), User.id == AuthSession.user_id, User.is_active)
            .values(last_seen_at=now)
            .returning(AuthSession.user_id, AuthSession.expires_at)
        )
        return (await self.session.execute(query, execution_options={"synchronize_session": False})).one_or_none()

    async def end(self, session_id: UUID, now: datetime, *, of: UUID | None = None) -> UUID | None:
        """End a live session, with `of` only one of that person, and return its owner's id; None when there is none."""
        query = sa.update(AuthSession).where(AuthSession.id == session_id, is_live(now)).values(revoked_at=now)
        if of is not None:
            query = query.where(AuthSession.user_id == of)
        return await self.session.scalar(query.returning(AuthSession.user_id))

    async def end_all(self, user_id: UUID, now: datetime, *, keep: UUID | None = None) -> None:
        """End all sessions of a person, except `keep`."""
        query = sa.update(AuthSession).where(AuthSession.user_id == user_id, AuthSession.revoked_at.is_(None))
        if keep is not None:
            query = query.where(AuthSession.id != keep)
        await self.session.execute(query.values(revoked_at=now))

    async def end_surplus(self, user_id: UUID, now: datetime) -> None:
        """End the least recently seen sessions of a person beyond the ten that are allowed."""
        surplus = (
            sa.select(AuthSession.id)
            .where(AuthSession.user_id == user_id, is_live(now))
            .order_by(AuthSession.last_seen_at.desc(), AuthSession.id.desc())
            .offset(MAX_SESSIONS)
        )
        query = sa.update(AuthSession).where(AuthSession.id.in_(surplus.scalar_subquery())).values(revoked_at=now)
        await self.session.execute(query, execution_options={"synchronize_session": False})

    async def delete_expired(self, before: datetime) -> int:
        """Delete sessions that expired before a moment, with their refresh tokens; return their number."""
        query = sa.delete(AuthSession).where(AuthSession.expires_at < before).returning(AuthSession.id)
        return len((await self.session.scalars(query)).all())


class RefreshTokenRepository(Repository[RefreshToken]):
    """Stores and uses refresh tokens, which are found by their hash."""

    model_type = RefreshToken
    id_attribute = "hash"

    async def store(self, token: str, session_id: UUID, expires_at: datetime) -> None:
        """Store the hash of a new token."""
        await self.add(RefreshToken(hash=hash_of(token), session_id=session_id, expires_at=expires_at, used_at=None))

    async def use(self, token_hash: bytes, now: datetime) -> UUID | None:
        """Mark a token as used and return its session's id; None when it is unknown, expired or used.

        One statement, so that of several requests at once only one gets the session.
        """
        query = (
            sa.update(RefreshToken)
            .where(RefreshToken.hash == token_hash, RefreshToken.used_at.is_(None), RefreshToken.expires_at > now)
            .values(used_at=now)
            .returning(RefreshToken.session_id)
        )
        return await self.session.scalar(query)

    async def get_state(self, token_hash: bytes, child_hash: bytes, now: datetime) -> RefreshTokenState | None:
        """Return what is stored of a token that cannot be used; None when it is unknown."""
        child = aliased(RefreshToken)
        query = (
            sa.select(
                RefreshToken.session_id,
                AuthSession.user_id,
                RefreshToken.used_at,
                AuthSession.expires_at,
                sa.and_(is_live(now), User.is_active),
                sa.case((child.hash.is_not(None), child.used_at.is_(None))),
            )
            .join(AuthSession, AuthSession.id == RefreshToken.session_id)
            .join(User, User.id == AuthSession.user_id)
            .outerjoin(child, child.hash == child_hash)
            .where(RefreshToken.hash == token_hash)
        )
        row = (await self.session.execute(query)).one_or_none()
        return RefreshTokenState(*row) if row else None


class RecoveryRepository(CredentialRepository):
    """Reads the accounts whose password is forgotten or whose address is confirmed."""

    async def find_by_reset_token(self, token_hash: bytes, now: datetime) -> Credential | None:
        """Return the account for which a token sets a new password; None when the token is not usable."""
        return await self._one(CREDENTIAL_BY_RESET_TOKEN, token_hash=token_hash, now=now)


class EmailTokenRepository(Repository[EmailToken]):
    """Stores and uses e-mailed tokens, which are found by their hash."""

    model_type = EmailToken
    id_attribute = "hash"

    async def remove_others(self, user_id: UUID, purpose: TokenPurpose, token_hash: bytes) -> None:
        """Delete the person's other tokens for the purpose."""
        query = sa.delete(EmailToken).where(
            EmailToken.user_id == user_id, EmailToken.purpose == purpose, EmailToken.hash != token_hash
        )
        await self.session.execute(query, execution_options={"synchronize_session": False})

    async def use(self, purpose: TokenPurpose, token_hash: bytes, now: datetime) -> UUID | None:
        """Delete a usable token and return its owner's id; None when there is none.

        One statement, so that of several requests at once only one gets the owner.
        """
        query = sa.delete(EmailToken).where(is_usable(purpose, token_hash, now)).returning(EmailToken.user_id)
        return await self.session.scalar(query, execution_options={"synchronize_session": False})


def provide_live_sessions(pool: NamedDependency[Pool]) -> LiveSessionRepository:
    return LiveSessionRepository(pool)
