"""Queries on accounts together with their profile, subscription and streak."""

from datetime import date, datetime
from functools import cache
from typing import Any, TypeVar
from uuid import UUID

import sqlalchemy as sa
from litestar.di import NamedDependency
from msgspec import Struct

from mambo.accounts.schemas import Account, Profile
from mambo.database.pool import Pool
from mambo.database.repository import AFTER_ALL, Query, ReadRepository, Search
from mambo.database.statements import Statement, param
from mambo.entitlements.models import Subscription, SubscriptionStatus, Tier
from mambo.errors import NotFound
from mambo.game.repository import newest_run
from mambo.game.rules import current_streak, local_date
from mambo.users.models import LevelTag, User, UserProfile
from mambo.users.repository import SEARCH_TEXT, UserRepository, contains, has_email, users_containing
from mambo.web.principal import Role
from mambo.web.schemas import Page

SCANNED = 5000  # accounts that a search reads before it uses the index
OutputT = TypeVar("OutputT", Profile, Account)


class AccountRow(Struct, frozen=True):
    """An account with its profile, its subscription, and the first and last day of its newest run of active days."""

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
    first_day: date | None
    last_day: date | None

    def to_output(self, kind: type[OutputT], now: datetime) -> OutputT:
        """Return the response body, with the streak on the person's local day."""
        streak = current_streak(self.first_day, self.last_day, local_date(now, self.timezone))
        values = {name: getattr(self, name) for name in kind.__struct_fields__ if name != "streak_count"}
        return kind(**values, streak_count=streak)


ACCOUNTS = (
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
ACCOUNT = Query(ACCOUNTS.where(User.id == param("user_id", sa.Uuid())), AccountRow)


@cache
def accounts_page(*, has_words: bool, has_role: bool, scanned: int) -> Query[AccountRow] | Search[AccountRow]:
    """Return the query of a page of accounts, the newest first (ids are in order of age), with these filters."""

    def filtered(user: Any) -> sa.Select[UUID]:
        ids = sa.select(user.id).where(user.id < param("before", sa.Uuid())).order_by(user.id.desc())
        return ids.where(user.role == param("role", sa.Text())) if has_role else ids

    def page(ids: sa.Select[UUID]) -> Query[AccountRow]:
        # A subquery, so that streaks are computed for the page alone and not for the accounts that OFFSET skips.
        ids = ids.limit(param("limit", sa.Integer())).offset(param("skip", sa.Integer()))
        return Query(ACCOUNTS.where(User.id.in_(ids)).order_by(User.id.desc()), AccountRow)

    everyone = filtered(User)
    if not has_words:
        return page(everyone)
    words = param("words", sa.Text())
    newest = everyone.add_columns(SEARCH_TEXT.label("text")).limit(scanned).subquery()
    return Search(
        scan=page(sa.select(newest.c.id).where(contains(newest.c.text, words)).order_by(newest.c.id.desc())),
        beyond=Statement(everyone.limit(1).offset(scanned)),
        index=page(filtered(users_containing(words).c)),
    )


class AccountReadRepository(ReadRepository):
    """Reads accounts for pages that only show them."""

    label = "user"

    async def get_profile(self, user_id: UUID, now: datetime) -> Profile:
        """Return a person's own account.

        Raises:
            NotFound: there is no such account.

        """
        return (await self._required(ACCOUNT, user_id=user_id)).to_output(Profile, now)

    async def get(self, user_id: UUID, now: datetime) -> Account:
        """Return an account as admins see it.

        Raises:
            NotFound: there is no such account.

        """
        return (await self._required(ACCOUNT, user_id=user_id)).to_output(Account, now)

    async def get_page(
        self, search: str | None, role: Role | None, now: datetime, *, limit: int, before: UUID | None = None
    ) -> Page[Account]:
        """Return a page of accounts, the newest first; `search` is a part of a name or e-mail address."""
        query, filters = filtered(search, role)
        rows, next_cursor = await self._page(query, limit=limit, before=before or AFTER_ALL, skip=0, **filters)
        return Page(items=[row.to_output(Account, now) for row in rows], next_cursor=next_cursor)

    async def get_list(
        self, search: str | None, role: Role | None, now: datetime, *, limit: int, skip: int = 0
    ) -> list[Account]:
        """Return accounts as a plain list, the newest first, without the first `skip`."""
        query, filters = filtered(search, role)
        rows = await self._all(query, limit=limit, before=AFTER_ALL, skip=skip, **filters)
        return [row.to_output(Account, now) for row in rows]


def filtered(search: str | None, role: Role | None) -> tuple[Query[AccountRow] | Search[AccountRow], dict[str, str]]:
    """Return the query for these filters, and their values."""
    words = (search or "").strip()
    filters = ({"words": words} if words else {}) | ({"role": role.value} if role else {})
    return accounts_page(has_words=bool(words), has_role=role is not None, scanned=SCANNED), filters


class AccountRepository(UserRepository):
    """Loads and changes accounts in a transaction, and reads what it has changed."""

    async def find_by_email(self, email: str) -> User | None:
        """Return the account with this normalized e-mail address, active or not."""
        return await self.get_one_or_none(has_email(email))

    async def lock_active_admins(self) -> set[UUID]:
        """Return the ids of all active admins, and lock their accounts until the transaction ends."""
        query = sa.select(User.id).where(User.role == Role.ADMIN, User.is_active).order_by(User.id)
        return set(await self.session.scalars(query.with_for_update(key_share=True)))

    async def get_row(self, user_id: UUID) -> AccountRow:
        """Return an account as the transaction has changed it.

        Raises:
            NotFound: there is no such account.

        """
        row = (await self.session.execute(ACCOUNTS.where(User.id == user_id))).mappings().one_or_none()
        if row is None:
            raise NotFound(self.label)
        return AccountRow(**row)


def provide_account_reads(pool: NamedDependency[Pool]) -> AccountReadRepository:
    return AccountReadRepository(pool)
