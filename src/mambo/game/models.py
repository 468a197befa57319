"""The XP ledger, its projections, and active days."""

import enum
from datetime import date, datetime
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column
from uuid_utils.compat import uuid7

from mambo.database.base import Base, one_of


class XpKind(enum.StrEnum):
    """The kind of source that XP is paid for."""

    LESSON = "lesson"
    QUIZ = "quiz"
    BOSS = "boss"
    ADJUSTMENT = "adjustment"


class XpEvent(Base):
    """A payment of XP; a source pays a learner once. A trigger refuses changes and deletions of rows."""

    __tablename__ = "xp_event"
    __table_args__ = (
        sa.UniqueConstraint("user_id", "kind", "source_id", name="uq_xp_event_source"),
        sa.Index("ix_xp_event_user_id_id", "user_id", "id"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid7)
    user_id: Mapped[UUID] = mapped_column(sa.ForeignKey("users.id", ondelete="CASCADE"))
    kind: Mapped[XpKind] = mapped_column(one_of(XpKind))
    source_id: Mapped[UUID]
    amount: Mapped[int]
    at: Mapped[datetime]
    actor_id: Mapped[UUID | None] = mapped_column(sa.ForeignKey("users.id", ondelete="RESTRICT"))
    reason: Mapped[str | None]


class WeeklyXp(Base):
    """The XP that a learner earned in a week, a projection of the ledger; `week` is its Monday, in UTC."""

    __tablename__ = "weekly_xp"
    __table_args__ = (sa.Index("ix_weekly_xp_leaders", "week", sa.text("xp DESC"), "reached_at", "user_id"),)

    user_id: Mapped[UUID] = mapped_column(sa.ForeignKey("users.id", ondelete="CASCADE"), primary_key=True)
    week: Mapped[date] = mapped_column(primary_key=True)
    xp: Mapped[int]
    reached_at: Mapped[datetime]


class ActivityReason(enum.StrEnum):
    """The activity that made a day active."""

    SIGN_IN = "sign_in"
    LESSON = "lesson"
    QUIZ = "quiz"
    BOSS = "boss"


class ActivityDay(Base):
    """A local day on which a learner signed in, completed a lesson, passed a quiz or submitted a boss battle.

    `reason` is the first of these; null in rows that are older than this column.
    """

    __tablename__ = "activity_day"

    user_id: Mapped[UUID] = mapped_column(sa.ForeignKey("users.id", ondelete="CASCADE"), primary_key=True)
    local_date: Mapped[date] = mapped_column(primary_key=True)
    reason: Mapped[ActivityReason | None] = mapped_column(one_of(ActivityReason))
