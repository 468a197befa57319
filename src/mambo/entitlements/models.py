"""Subscriptions."""

import enum
from datetime import datetime
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from mambo.database.base import Base, one_of


class Tier(enum.StrEnum):
    """What a learner has subscribed to."""

    ROOKIE = "rookie"
    SOCIAL_DANCER = "social_dancer"
    PERFORMER = "performer"


class SubscriptionStatus(enum.StrEnum):
    """Where a subscription stands; `trialing` and `active` are live while the period lasts."""

    INCOMPLETE = "incomplete"
    TRIALING = "trialing"
    ACTIVE = "active"
    PAST_DUE = "past_due"
    CANCELED = "canceled"


class Subscription(Base):
    """What a learner pays for, and until when; an open end means it runs on."""

    __tablename__ = "subscription"

    user_id: Mapped[UUID] = mapped_column(sa.ForeignKey("users.id", ondelete="CASCADE"), primary_key=True)
    tier: Mapped[Tier] = mapped_column(one_of(Tier), default=Tier.ROOKIE)
    status: Mapped[SubscriptionStatus] = mapped_column(
        one_of(SubscriptionStatus), default=SubscriptionStatus.INCOMPLETE
    )
    current_period_end: Mapped[datetime | None]
