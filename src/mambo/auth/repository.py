"""Questions about sessions and refresh tokens."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import UUID

import sqlalchemy as sa
from msgspec import Struct
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import aliased

from mambo.auth.models import AuthSession, EmailToken, RefreshToken, TokenPurpose
from mambo.database.pool import Pool
from mambo.database.repository import Repository
from mambo.database.statements import Statement, param
from mambo.entitlements.models import Subscription
from mambo.entitlements.repository import has_live_subscription
from mambo.users.models import User, UserProfile
from mambo.web.principal import Principal, Role

MOST_SESSIONS = 10
SEEN_EVERY = timedelta(minutes=5)
IDLE = timedelta(days=30)


def is_live(now: datetime | sa.BindParameter[datetime]) -> sa.ColumnElement[bool]:
    """Whether a session counts: neither ended nor over."""
    return sa.and_(AuthSession.revoked_at.is_(None), AuthSession.expires_at > now)


class CachedPrincipal(Struct, frozen=True):
    """A person behind a session, until when that is so at the most, and when the session was last seen."""

    principal: Principal
    until: datetime
    last_seen_at: datetime


class RefreshTokenState(Struct, frozen=True):
    """A refresh token that could not be used: what is known of it, of the one that replaced it, and of its session."""

    session_id: UUID
    user_id: UUID
    used_at: datetime | None
    session_expires_at: datetime
    is_session_live: bool
    is_child_unused: bool | None


NOW = param("now", sa.DateTime(timezone=True))
SESSION_ID = param("session_id", sa.Uuid())
PRINCIPAL = Statement(
    sa.select(
        AuthSession.user_id,
        AuthSession.id,
        User.role,
        has_live_subscription(NOW),
        UserProfile.timezone,
        AuthSession.expires_at,
        Subscription.current_period_end,
        AuthSession.last_seen_at,
    )
    .join(User, User.id == AuthSession.user_id)
    .join(UserProfile, UserProfile.user_id == User.id)
    .join(Subscription, Subscription.user_id == User.id)
    .where(
        AuthSession.id == SESSION_ID,
        AuthSession.user_id == param("user_id", sa.Uuid()),
        User.is_active,
        is_live(NOW),
    )
)
SEE = Statement(
    sa.update(AuthSession).where(AuthSession.id == SESSION_ID, AuthSession.last_seen_at < NOW).values(last_seen_at=NOW)
)


class PrincipalRepository:
    """Who is behind a session: asked with almost every request."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def get(self, session_id: UUID, user_id: UUID, now: datetime) -> CachedPrincipal | None:
        """Whoever signed in, as the database knows them now; None when the session or the account has ended."""
        row = await self._pool.fetch_one(PRINCIPAL, session_id=session_id, user_id=user_id, now=now)
        if row is None:
            return None
        user, session, role, is_subscribed, timezone, until, period_end, last_seen_at = row
        if period_end is not None and period_end > now:
            until = min(until, period_end)
        return CachedPrincipal(Principal(user, session, Role(role), is_subscribed, timezone), until, last_seen_at)

    async def see(self, session_id: UUID, now: datetime) -> None:
        """Note that the session is in use."""
        await self._pool.fetch_one(SEE, session_id=session_id, now=now)


class SessionRepository(Repository[AuthSession]):
    """Sign-ins."""

    model_type = AuthSession

    async def get_live(self, user_id: UUID, now: datetime) -> Sequence[AuthSession]:
        """A person's sessions that are in use, the last seen first."""
        query = (
            sa.select(AuthSession)
            .where(AuthSession.user_id == user_id, is_live(now), AuthSession.last_seen_at > now - IDLE)
            .order_by(AuthSession.last_seen_at.desc(), AuthSession.id.desc())
        )
        return (await self.session.scalars(query)).all()

    async def end(self, session_id: UUID, now: datetime, *, of: UUID | None) -> UUID | None:
        """End a live session, if it is that person's where one is named; returns whose it was, None without."""
        query = sa.update(AuthSession).where(AuthSession.id == session_id, is_live(now)).values(revoked_at=now)
        if of is not None:
            query = query.where(AuthSession.user_id == of)
        return await self.session.scalar(query.returning(AuthSession.user_id))

    async def end_all(self, user_id: UUID, now: datetime, *, keep: UUID | None = None) -> None:
        """End a person's sessions, but one where that is named."""
        query = sa.update(AuthSession).where(AuthSession.user_id == user_id, AuthSession.revoked_at.is_(None))
        if keep is not None:
            query = query.where(AuthSession.id != keep)
        await self.session.execute(query.values(revoked_at=now))

    async def end_surplus(self, user_id: UUID, now: datetime) -> None:
        """End the sessions of a person that were not seen for longest, beyond ten."""
        surplus = (
            sa.select(AuthSession.id)
            .where(AuthSession.user_id == user_id, is_live(now))
            .order_by(AuthSession.last_seen_at.desc(), AuthSession.id.desc())
            .offset(MOST_SESSIONS)
        )
        query = sa.update(AuthSession).where(AuthSession.id.in_(surplus.scalar_subquery())).values(revoked_at=now)
        await self.session.execute(query, execution_options={"synchronize_session": False})

    async def forget_over(self, moment: datetime) -> int:
        """Delete sessions that were over before, with their refresh tokens; returns how many."""
        query = sa.delete(AuthSession).where(AuthSession.expires_at < moment).returning(AuthSession.id)
        return len((await self.session.scalars(query)).all())


class RefreshRepository(Repository[RefreshToken]):
    """Refresh tokens, by their hash."""

    model_type = RefreshToken

    async def use(self, token_hash: bytes, now: datetime) -> UUID | None:
        """Use a token up; returns its session, None when it is unknown, over or was used before.

        Of any number at once, one gets the session.
        """
        query = (
            sa.update(RefreshToken)
            .where(RefreshToken.hash == token_hash, RefreshToken.used_at.is_(None), RefreshToken.expires_at > now)
            .values(used_at=now)
            .returning(RefreshToken.session_id)
        )
        return await self.session.scalar(query)

    async def prolong(self, session_id: UUID, now: datetime) -> sa.Row[UUID, datetime] | None:
        """Note that a live session is in use; returns whose it is and when it is over, None when it has ended."""
        query = (
            sa.update(AuthSession)
            .where(AuthSession.id == session_id, is_live(now), User.id == AuthSession.user_id, User.is_active)
            .values(last_seen_at=now)
            .returning(AuthSession.user_id, AuthSession.expires_at)
        )
        return (await self.session.execute(query, execution_options={"synchronize_session": False})).one_or_none()

    async def get_presented(self, token_hash: bytes, child_hash: bytes, now: datetime) -> RefreshTokenState | None:
        """What is known of a token that could not be used; None when it was never ours."""
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


def counts(purpose: TokenPurpose, token_hash: bytes, now: datetime) -> sa.ColumnElement[bool]:
    """Whether it is that token, for that purpose, in time, and its person can sign in."""
    return sa.and_(
        EmailToken.hash == token_hash,
        EmailToken.purpose == purpose,
        EmailToken.expires_at > now,
        EmailToken.user_id == User.id,
        User.is_active,
    )


class EmailTokenRepository(Repository[EmailToken]):
    """Tokens, by their hash."""

    model_type = EmailToken
    id_attribute = "hash"

    async def replace(self, token: EmailToken) -> None:
        """Store a token; an older one of the person for the same purpose counts no more."""
        values = {"hash": token.hash, "expires_at": token.expires_at, "created_at": token.created_at}
        query = insert(EmailToken).values(user_id=token.user_id, purpose=token.purpose, **values)
        await self.session.execute(query.on_conflict_do_update(index_elements=["user_id", "purpose"], set_=values))

    async def get_owner(self, purpose: TokenPurpose, token_hash: bytes, now: datetime) -> User | None:
        """Whose the token is; None when it counts no more."""
        return await self.session.scalar(sa.select(User).join(EmailToken, counts(purpose, token_hash, now)))

    async def use(self, purpose: TokenPurpose, token_hash: bytes, now: datetime) -> UUID | None:
        """Use a token up; returns whose it is. Of any number at once, one gets it and the others None."""
        query = sa.delete(EmailToken).where(counts(purpose, token_hash, now)).returning(EmailToken.user_id)
        return await self.session.scalar(query, execution_options={"synchronize_session": False})
