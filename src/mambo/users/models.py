"""Accounts and profiles."""

import enum
from datetime import datetime
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from mambo.database.base import Base, Identified, one_of
from mambo.web.principal import Role


class LevelTag(enum.StrEnum):
    """A learner's own description of their dancing."""

    BEGINNER = "Beginner"
    NOVICE = "Novice"
    INTERMEDIATE = "Intermediate"
    ADVANCED = "Advanced"


class User(Identified):
    """An account. The e-mail address is stored trimmed and in lower case, and is unique."""

    __tablename__ = "users"
    __table_args__ = (
        sa.Index(
            "uq_users_email",
            sa.text("lower(email)"),
            unique=True,
            info={"problem": "There is an account with this e-mail address already: sign in instead."},
        ),
        sa.Index("ix_users_role", "role", "id"),
        # Without a list of pending entries, which every search would have to read.
        sa.Index(
            "ix_users_search",
            sa.text("search_grams(user_search_text(first_name, last_name, email))"),
            postgresql_using="gin",
            postgresql_with={"fastupdate": "off"},
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
    """A learner's totals and preferences.

    `xp` and `xp_reached_at` are projections of the XP ledger; the database computes `level` from `xp`.
    """

    __tablename__ = "user_profile"
    __table_args__ = (
        sa.CheckConstraint("xp >= 0", name="xp_not_negative", info={"problem": "XP cannot go below zero."}),
        # A picture is deleted only when no profile shows it.
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
