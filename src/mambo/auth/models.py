"""Sessions: one row per sign-in, the truth behind every access token."""

from datetime import datetime
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from mambo.db import Identified


class AuthSession(Identified):
    """One sign-in on one device; revoking the row ends every token made from it."""

    __tablename__ = "auth_session"
    __table_args__ = (sa.Index("ix_auth_session_user_id", "user_id"),)

    user_id: Mapped[UUID] = mapped_column(sa.ForeignKey("users.id", ondelete="CASCADE"))
    device: Mapped[str]
    ip_prefix: Mapped[str | None]
    last_seen_at: Mapped[datetime]
    expires_at: Mapped[datetime]
    revoked_at: Mapped[datetime | None]
