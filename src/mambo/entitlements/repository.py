"""Queries about subscriptions."""

from datetime import datetime

import sqlalchemy as sa

from mambo.entitlements.models import Subscription, SubscriptionStatus


def has_live_subscription(now: datetime | sa.BindParameter[datetime]) -> sa.ColumnElement[bool]:
    """Whether the joined subscription is live: active or trialing, its period not over."""
    return sa.and_(
        Subscription.status.in_([SubscriptionStatus.ACTIVE, SubscriptionStatus.TRIALING]),
        sa.func.coalesce(Subscription.current_period_end > now, sa.true()),
    )
