"""Questions about people that span their account, profile, subscription and active days."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
import sqlalchemy as sa
from litestar.di import NamedDependency
from msgspec import Struct
from sqlalchemy import RowMapping
from sqlalchemy.ext.asyncio import AsyncSession

from mambo.database.pool import Pool
from mambo.database.repository import Repository
from mambo.database.statements import Statement, param
from mambo.entitlements.models import Subscription, SubscriptionStatus, Tier
from mambo.game import rules
from mambo.game.repository import newest_run
from mambo.users.models import LevelTag, User, UserProfile
from mambo.web.principal import Role


class AccountRow(Struct, frozen=True):
    """One row of everything there is to say about an account."""

    id: UUID
    email: str
    first_name: str
    last_name: str
    role: Role
    is_active: bool
    created_at: datetime
    tier: Tier
    subscription_status: SubscriptionStatus
    current_period_end: datetime | None
    xp: int
    level: int
    avatar_url: str | None
    current_level_tag: LevelTag | None
    timezone: str
    show_on_leaderboard: bool
    streak_count: int


PEOPLE = (
    sa.select(
        User.id,
        User.email,
        User.first_name,
        User.last_name,
        User.role,
        User.is_active,
        User.created_at,
        Subscription.tier,
        Subscription.status.label("subscription_status"),
        Subscription.current_period_end,
        UserProfile.xp,
        UserProfile.level,
        UserProfile.avatar_url,
        UserProfile.current_level_tag,
        UserProfile.timezone,
        UserProfile.show_on_leaderboard,
        *newest_run(User.id),
    )
    .join(UserProfile, UserProfile.user_id == User.id)
    .join(Subscription, Subscription.user_id == User.id)
)
ONE_PERSON = Statement(PEOPLE.where(User.id == param("user_id", sa.Uuid())))


class ProfileReader:
    """One's own account: asked whenever a client starts."""

    def __init__(self, pool: Pool, now: datetime) -> None:
        self._pool, self._now = pool, now

    async def get(self, user_id: UUID) -> AccountRow:
        return to_person(await self._pool.fetch_one(ONE_PERSON, user_id=user_id), self._now)


class AccountRepository(Repository[User]):
    """Accounts, whole."""

    model_type = User

    async def get_person(self, user_id: UUID, now: datetime) -> AccountRow | None:
        row = (await self.session.execute(PEOPLE.where(User.id == user_id))).mappings().one_or_none()
        return to_person(row, now) if row else None

    async def find_people(
        self,
        now: datetime,
        search: str | None,
        role: Role | None,
        *,
        limit: int,
        before: UUID | None = None,
        skip: int = 0,
    ) -> Sequence[AccountRow]:
        """The newest people first (ids are in order of age), those whose name or e-mail holds `search`."""
        query = PEOPLE.order_by(User.id.desc()).limit(limit).offset(skip)
        if search and (words := search.strip()):
            full_name = User.first_name + " " + User.last_name
            query = query.where(
                full_name.icontains(words, autoescape=True) | User.email.icontains(words, autoescape=True)
            )
        if role is not None:
            query = query.where(User.role == role)
        if before is not None:
            query = query.where(User.id < before)
        return [to_person(row, now) for row in (await self.session.execute(query)).mappings()]


def to_person(row: Mapping[str, Any] | RowMapping, now: datetime) -> AccountRow:
    values = dict(row)
    today = rules.local_date(now, row["timezone"])
    streak = rules.current_streak(values.pop("first_day"), values.pop("last_day"), today)
    return msgspec.convert(values | {"streak_count": streak}, AccountRow)


def provide_profile_reader(pool: NamedDependency[Pool], now: NamedDependency[datetime]) -> ProfileReader:
    return ProfileReader(pool, now)


async def provide_account_repository(session: NamedDependency[AsyncSession]) -> AccountRepository:
    return AccountRepository(session)
