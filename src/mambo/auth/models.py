"""Sessions: one row per sign-in, the truth behind every token; and the refresh tokens that prolong them."""

from datetime import datetime
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from mambo.db import Base, Identified


class AuthSession(Identified):
    """One sign-in on one device; revoking the row ends every token made from it. `expires_at` never moves."""

    __tablename__ = "auth_session"
    __table_args__ = (
        sa.Index("ix_auth_session_user_id", "user_id"),
        sa.Index("ix_auth_session_expires_at", "expires_at"),
    )

    user_id: Mapped[UUID] = mapped_column(sa.ForeignKey("users.id", ondelete="CASCADE"))
    device: Mapped[str]
    ip_prefix: Mapped[str | None]
    last_seen_at: Mapped[datetime]
    expires_at: Mapped[datetime]
    revoked_at: Mapped[datetime | None]


class RefreshToken(Base):
    """A refresh token's SHA-256; used ones stay as long as their session, so that their reuse is seen."""

    __tablename__ = "refresh_token"
    __table_args__ = (sa.Index("ix_refresh_token_session_id", "session_id"),)

    hash: Mapped[bytes] = mapped_column(primary_key=True)
    session_id: Mapped[UUID] = mapped_column(sa.ForeignKey("auth_session.id", ondelete="CASCADE"))
    expires_at: Mapped[datetime]
    used_at: Mapped[datetime | None]
