"""Subscriptions."""

import enum
from datetime import datetime
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from mambo.database.base import Base, one_of


class Tier(enum.StrEnum):
    """The plan of a subscription."""

    ROOKIE = "rookie"
    SOCIAL_DANCER = "social_dancer"
    PERFORMER = "performer"


class SubscriptionStatus(enum.StrEnum):
    """The state of a subscription; `trialing` and `active` open paid courses until the period ends."""

    INCOMPLETE = "incomplete"
    TRIALING = "trialing"
    ACTIVE = "active"
    PAST_DUE = "past_due"
    CANCELED = "canceled"


class Subscription(Base):
    """A learner's subscription; without `current_period_end` it has no end."""

    __tablename__ = "subscription"

    user_id: Mapped[UUID] = mapped_column(sa.ForeignKey("users.id", ondelete="CASCADE"), primary_key=True)
    tier: Mapped[Tier] = mapped_column(one_of(Tier), default=Tier.ROOKIE)
    status: Mapped[SubscriptionStatus] = mapped_column(
        one_of(SubscriptionStatus), default=SubscriptionStatus.INCOMPLETE
    )
    current_period_end: Mapped[datetime | None]
