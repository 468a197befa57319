"""Changing accounts: one's own, and as an admin anyone's."""

from datetime import datetime
from typing import Any
from uuid import UUID

from litestar.di import NamedDependency
from sqlalchemy.ext.asyncio import AsyncSession

from mambo.accounts.repository import AccountRepository, AccountRow
from mambo.accounts.schemas import AccountChange, ProfileChange
from mambo.adapters.storage import AVATAR_BYTES, ImageStorage, require_picture
from mambo.auth.principals import PrincipalCache
from mambo.auth.repository import SessionRepository
from mambo.entitlements.models import Subscription
from mambo.errors import Conflict, Invalid, NotFound
from mambo.game import rules
from mambo.users.models import User, UserProfile
from mambo.users.repository import ProfileRepository, UserRepository
from mambo.web.principal import Role
from mambo.web.schemas import changes


class AccountService:
    """Reads and changes accounts."""

    def __init__(
        self, session: AsyncSession, pictures: ImageStorage | None, principals: PrincipalCache, now: datetime
    ) -> None:
        self.session, self.pictures, self.principals = session, pictures, principals
        self.people = AccountRepository(session)
        self.users = UserRepository(session)
        self.profiles = ProfileRepository(session)
        self.now = now

    async def get(self, user_id: UUID) -> AccountRow:
        """The person.

        Raises:
            NotFound: nobody has this id.

        """
        person = await self.people.get_person(user_id, self.now)
        if person is None:
            raise NotFound("user")
        return person

    async def change_own(self, user_id: UUID, data: ProfileChange) -> AccountRow:
        """Change one's own account.

        Raises:
            Conflict: the time zone was changed less than a day ago.
            Invalid: the time zone is unknown, or the avatar is not a picture that this person uploaded.

        """
        values = changes(data)
        if url := values.get("avatar_url"):
            folder = f"avatars/{user_id}"
            await require_picture(self.pictures, "avatar_url", url, folder=folder, max_bytes=AVATAR_BYTES, is_own=True)
        names = take(values, "first_name", "last_name")
        if "timezone" in values:
            await self._check_timezone(user_id, values)
        await self.users.change_row(user_id, User, {name: value.strip() for name, value in names.items()})
        await self.users.change_row(user_id, UserProfile, values)
        self.principals.forget_after_commit(self.session, user_id)
        return await self.get(user_id)

    async def change_any(self, user_id: UUID, data: AccountChange) -> AccountRow:
        """Change anyone's account as an admin.

        Raises:
            Conflict: nobody would be left to administer the school.
            NotFound: nobody has this id.

        """
        values = changes(data)
        account = take(values, "role", "is_active")
        if "subscription_status" in values:
            values["status"] = values.pop("subscription_status")
        if account.get("role", Role.ADMIN) is not Role.ADMIN or not account.get("is_active", True):
            await self._keep_an_admin(user_id)
        await self.users.change_row(user_id, User, account)
        await self.users.change_row(user_id, Subscription, values)
        if account.get("is_active") is False:
            await SessionRepository(self.session).end_all(user_id, self.now)
        self.principals.forget_after_commit(self.session, user_id)
        return await self.get(user_id)

    async def _check_timezone(self, user_id: UUID, values: dict[str, Any]) -> None:
        if not rules.is_timezone(values["timezone"]):
            raise Invalid.field("timezone", "is not a time zone of the IANA database, such as America/New_York")
        profile = await self.profiles.lock(user_id)
        if profile.timezone == values["timezone"]:
            return
        if not rules.may_change_timezone(profile.timezone_changed_at, self.now):
            raise Conflict("The time zone was changed less than 24 hours ago: try again tomorrow.")
        values["timezone_changed_at"] = self.now

    async def _keep_an_admin(self, user_id: UUID) -> None:
        if await self.users.lock_active_admins() == {user_id}:
            raise Conflict("This is the only active admin: make someone else an admin first.")


def take(values: dict[str, Any], *names: str) -> dict[str, Any]:
    """Move the named values, where they are given, into a dict of their own."""
    return {name: values.pop(name) for name in names if name in values}


async def provide_account_service(
    session: NamedDependency[AsyncSession],
    image_storage: NamedDependency[ImageStorage | None],
    principals: NamedDependency[PrincipalCache],
    now: NamedDependency[datetime],
) -> AccountService:
    return AccountService(session, image_storage, principals, now)
