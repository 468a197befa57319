"""Queries on subscriptions."""

from datetime import datetime

import sqlalchemy as sa

from mambo.database.repository import Repository
from mambo.entitlements.models import Subscription, SubscriptionStatus


def is_subscription_live(now: datetime | sa.BindParameter[datetime]) -> sa.ColumnElement[bool]:
    """Return the condition that a subscription opens paid courses: active or trialing, and its period not over."""
    return sa.and_(
        Subscription.status.in_([SubscriptionStatus.ACTIVE, SubscriptionStatus.TRIALING]),
        sa.func.coalesce(Subscription.current_period_end > now, sa.true()),
    )


class SubscriptionRepository(Repository[Subscription]):
    """Loads and changes subscriptions, which have the id of their account."""

    model_type = Subscription
    id_attribute = "user_id"
