"""Sessions, which decide whether a token is valid, their refresh tokens, and tokens sent by e-mail."""

import enum
from datetime import datetime
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from mambo.database.base import Base, Identified, one_of


class AuthSession(Identified):
    """One sign-in on one device. Revoking it ends all its tokens; `expires_at` never changes."""

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
    """The SHA-256 of a refresh token. Used ones are kept as long as their session, to detect reuse."""

    __tablename__ = "refresh_token"
    __table_args__ = (sa.Index("ix_refresh_token_session_id", "session_id"),)

    hash: Mapped[bytes] = mapped_column(primary_key=True)
    session_id: Mapped[UUID] = mapped_column(sa.ForeignKey("auth_session.id", ondelete="CASCADE"))
    expires_at: Mapped[datetime]
    used_at: Mapped[datetime | None]


class TokenPurpose(enum.StrEnum):
    """What an e-mailed token is for."""

    VERIFY = "verify"
    RESET = "reset"


class EmailToken(Base):
    """The SHA-256 of a token that is sent by e-mail.

    Once a newer one was sent for the same purpose, or one was used, the others are deleted.
    """

    __tablename__ = "email_token"
    __table_args__ = (sa.Index("ix_email_token_owner", "user_id", "purpose"),)

    hash: Mapped[bytes] = mapped_column(primary_key=True)
    user_id: Mapped[UUID] = mapped_column(sa.ForeignKey("users.id", ondelete="CASCADE"))
    purpose: Mapped[TokenPurpose] = mapped_column(one_of(TokenPurpose))
    expires_at: Mapped[datetime]
    created_at: Mapped[datetime]
