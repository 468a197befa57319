"""Request and response bodies of profiles and accounts."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from msgspec import UNSET, Meta, UnsetType

from mambo.entitlements.models import SubscriptionStatus, Tier
from mambo.users.models import LevelTag
from mambo.web.principal import Role
from mambo.web.schemas import Input, Output, RequiredLine, Url


class Profile(Output):
    """A person's own account; its fields are those of `AccountRow`, and the streak."""

    id: UUID
    email: str
    first_name: str
    last_name: str
    role: Role
    tier: Tier
    xp: int
    level: int
    streak_count: int
    avatar_url: str | None
    current_level_tag: LevelTag | None
    timezone: str
    show_on_leaderboard: bool


class ProfileChange(Input):
    """What a person may change of their account; absent means unchanged."""

    first_name: RequiredLine | UnsetType = UNSET
    last_name: RequiredLine | UnsetType = UNSET
    avatar_url: Url | None | UnsetType = UNSET
    current_level_tag: LevelTag | UnsetType = UNSET
    timezone: str | UnsetType = UNSET
    show_on_leaderboard: bool | UnsetType = UNSET


class Account(Output):
    """An account as an admin sees it; its fields are those of `AccountRow`, and the streak."""

    id: UUID
    email: str
    first_name: str
    last_name: str
    xp: int
    level: int
    streak_count: int
    created_at: datetime
    role: Role
    tier: Tier
    subscription_status: SubscriptionStatus
    current_period_end: datetime | None
    is_active: bool


class AccountChange(Input):
    """What an admin may change of an account; absent means unchanged."""

    role: Role | UnsetType = UNSET
    tier: Tier | UnsetType = UNSET
    subscription_status: SubscriptionStatus | UnsetType = UNSET
    current_period_end: Annotated[datetime, Meta(tz=True)] | None | UnsetType = UNSET
    is_active: bool | UnsetType = UNSET
