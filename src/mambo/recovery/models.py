"""Tokens that go out by e-mail."""

import enum
from datetime import datetime
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from mambo.db import Base, one_of


class TokenPurpose(enum.StrEnum):
    """What a token is good for."""

    VERIFY = "verify"
    RESET = "reset"


class EmailToken(Base):
    """The SHA-256 of a token that was sent to a person; a newer one takes its place, and using it deletes it."""

    __tablename__ = "email_token"
    __table_args__ = (sa.UniqueConstraint("hash"),)

    user_id: Mapped[UUID] = mapped_column(sa.ForeignKey("users.id", ondelete="CASCADE"), primary_key=True)
    purpose: Mapped[TokenPurpose] = mapped_column(one_of(TokenPurpose), primary_key=True)
    hash: Mapped[bytes]
    expires_at: Mapped[datetime]
    created_at: Mapped[datetime]
