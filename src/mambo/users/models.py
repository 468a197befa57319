"""Accounts, profiles and subscriptions."""

import enum
from datetime import datetime
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from mambo.database.base import Base, Identified, one_of
from mambo.web.principal import Role


class LevelTag(enum.StrEnum):
    """How a learner describes their own dancing."""

    BEGINNER = "Beginner"
    NOVICE = "Novice"
    INTERMEDIATE = "Intermediate"
    ADVANCED = "Advanced"


class User(Identified):
    """An account; the e-mail is stored trimmed and in lower case, and is one person's."""

    __tablename__ = "users"
    __table_args__ = (
        sa.Index(
            "uq_users_email",
            sa.text("lower(email)"),
            unique=True,
            info={"problem": "There is an account with this e-mail address already: sign in instead."},
        ),
    )

    email: Mapped[str]
    password_hash: Mapped[str]
    first_name: Mapped[str]
    last_name: Mapped[str]
    role: Mapped[Role] = mapped_column(one_of(Role), default=Role.USER)
    is_active: Mapped[bool] = mapped_column(default=True)
    email_verified_at: Mapped[datetime | None]


class UserProfile(Base):
    """What a learner has reached and chosen; `xp` and since when are projections of the ledger, `level` follows."""

    __tablename__ = "user_profile"
    __table_args__ = (
        sa.CheckConstraint("xp >= 0", name="xp_not_negative", info={"problem": "XP cannot go below zero."}),
        # Whether anyone still shows a picture is asked before it is deleted.
        sa.Index("ix_user_profile_avatar_url", "avatar_url", postgresql_where=sa.text("avatar_url IS NOT NULL")),
        sa.Index(
            "ix_user_profile_leaders",
            sa.text("xp DESC"),
            "xp_reached_at",
            "user_id",
            postgresql_where=sa.text("show_on_leaderboard"),
        ),
    )

    user_id: Mapped[UUID] = mapped_column(sa.ForeignKey("users.id", ondelete="CASCADE"), primary_key=True)
    xp: Mapped[int] = mapped_column(default=0)
    xp_reached_at: Mapped[datetime | None]
    level: Mapped[int] = mapped_column(
        sa.Computed("greatest(1, floor(sqrt(greatest(xp, 0) / 100))::integer)", persisted=True)
    )
    avatar_url: Mapped[str | None]
    current_level_tag: Mapped[LevelTag | None] = mapped_column(one_of(LevelTag))
    timezone: Mapped[str] = mapped_column(default="UTC")
    timezone_changed_at: Mapped[datetime | None]
    show_on_leaderboard: Mapped[bool] = mapped_column(default=True)
