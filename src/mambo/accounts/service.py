"""Creating and changing accounts, for routes and for the `mambo users` commands."""

from collections.abc import Mapping
from datetime import datetime
from functools import partial
from typing import Any
from uuid import UUID

from litestar.di import NamedDependency
from sqlalchemy.ext.asyncio import AsyncSession

from mambo.accounts.repository import AccountRepository
from mambo.accounts.schemas import Account, AccountChange, Profile, ProfileChange
from mambo.adapters.storage import ImageStorage
from mambo.auth.passwords import Passwords, require_good_password
from mambo.auth.principals import ForgetPrincipal, PrincipalCache
from mambo.auth.repository import SessionRepository
from mambo.auth.rules import require_timezone
from mambo.auth.schemas import Registration
from mambo.auth.service import create_user
from mambo.entitlements.repository import SubscriptionRepository
from mambo.errors import Conflict, NotFound
from mambo.game.rules import may_change_timezone
from mambo.images.rules import AVATAR_BYTES
from mambo.images.service import require_image
from mambo.users.repository import ProfileRepository
from mambo.users.rules import normalize_email
from mambo.web.principal import Role
from mambo.web.schemas import changes


class AccountService:
    """Creates and changes accounts in one transaction."""

    def __init__(
        self,
        accounts: AccountRepository,
        profiles: ProfileRepository,
        subscriptions: SubscriptionRepository,
        sessions: SessionRepository,
        *,
        image_storage: ImageStorage | None,
        passwords: Passwords,
        forget_principal: ForgetPrincipal,
        now: datetime,
    ) -> None:
        self.accounts, self.profiles = accounts, profiles
        self.subscriptions, self.sessions = subscriptions, sessions
        self.image_storage, self.passwords, self.forget_principal = image_storage, passwords, forget_principal
        self.now = now

    async def create(self, data: Registration, role: Role) -> Account:
        """Create an account under the rules of registration.

        Raises:
            Conflict: the e-mail address has an account.
            Invalid: the address or the time zone cannot be used, or the password is too easily guessed.
            Unavailable: too many passwords are waiting to be hashed.

        """
        user = await create_user(data, self.passwords, role)
        await self.accounts.add_account(user, timezone=data.timezone or "UTC", level_tag=data.current_level_tag)
        return await self._get(user.id)

    async def find(self, email: str) -> UUID:
        """Return the id of the account with this e-mail address, in any spelling.

        Raises:
            NotFound: there is none.

        """
        user = await self.accounts.find_by_email(normalize_email(email))
        if user is None:
            raise NotFound(f"account: {email}")
        return user.id

    async def change_own(self, user_id: UUID, data: ProfileChange) -> Profile:
        """Change a person's own account.

        Raises:
            Conflict: the time zone was changed less than a day ago.
            Invalid: the time zone is unknown, or the avatar is not a picture that this person uploaded.
            Unavailable, DependencyFailed, DependencyTimedOut: the image storage cannot be asked for the avatar.

        """
        values = changes(data)
        if url := values.get("avatar_url"):
            folder = f"avatars/{user_id}"
            await require_image(
                self.image_storage, "avatar_url", url, folder=folder, max_bytes=AVATAR_BYTES, is_own=True
            )
        names = take(values, "first_name", "last_name")
        if "timezone" in values:
            values |= await self._timezone_change(user_id, values.pop("timezone"))
        await self.accounts.change(user_id, {name: value.strip() for name, value in names.items()})
        await self.profiles.change(user_id, values)
        self.forget_principal(user_id)
        return (await self.accounts.get_row(user_id)).to_output(Profile, self.now)

    async def change(self, user_id: UUID, data: AccountChange) -> Account:
        """Change anyone's account; disabling it ends its sessions.

        Raises:
            Conflict: it is the only active admin, and would no longer be one.
            NotFound: there is no such account.

        """
        values = changes(data)
        account = take(values, "role", "is_active")
        if "subscription_status" in values:
            values["status"] = values.pop("subscription_status")
        if account.get("role", Role.ADMIN) is not Role.ADMIN or not account.get("is_active", True):
            await self._require_another_admin(user_id)
        # The account is locked before its sessions end, so that a sign-in at the same moment ends too.
        await self.accounts.change(user_id, account)
        await self.subscriptions.change(user_id, values)
        if account.get("is_active") is False:
            await self.sessions.end_all(user_id, self.now)
        self.forget_principal(user_id)
        return await self._get(user_id)

    async def set_password(self, email: str, password: str) -> Account:
        """Set the password of the account with this e-mail address, and end all its sessions.

        Raises:
            Invalid: the password is too easily guessed.
            NotFound: there is no such account.
            Unavailable: too many passwords are waiting to be hashed.

        """
        require_good_password("password", password, normalize_email(email))
        password_hash = await self.passwords.hash(password)
        user_id = await self.find(email)
        # As in `change`: the account first, then its sessions.
        await self.accounts.change(user_id, {"password_hash": password_hash})
        await self.sessions.end_all(user_id, self.now)
        self.forget_principal(user_id)
        return await self._get(user_id)

    async def _get(self, user_id: UUID) -> Account:
        return (await self.accounts.get_row(user_id)).to_output(Account, self.now)

    async def _timezone_change(self, user_id: UUID, timezone: str) -> Mapping[str, Any]:
        """Return the columns to set, after locking the profile."""
        require_timezone(timezone)
        profile = await self.profiles.lock(user_id)
        if profile.timezone == timezone:
            return {}
        if not may_change_timezone(profile.timezone_changed_at, self.now):
            raise Conflict("The time zone was changed less than 24 hours ago: try again tomorrow.")
        return {"timezone": timezone, "timezone_changed_at": self.now}

    async def _require_another_admin(self, user_id: UUID) -> None:
        if await self.accounts.lock_active_admins() == {user_id}:
            raise Conflict("This is the only active admin: make someone else an admin first.")


def take(values: dict[str, Any], *names: str) -> dict[str, Any]:
    """Remove the named values that are present, and return them."""
    return {name: values.pop(name) for name in names if name in values}


def create_account_service(
    session: AsyncSession,
    *,
    image_storage: ImageStorage | None,
    passwords: Passwords,
    forget_principal: ForgetPrincipal,
    now: datetime,
) -> AccountService:
    """Return the service with its repositories in the transaction of `session`."""
    return AccountService(
        AccountRepository(session),
        ProfileRepository(session),
        SubscriptionRepository(session),
        SessionRepository(session),
        image_storage=image_storage,
        passwords=passwords,
        forget_principal=forget_principal,
        now=now,
    )


def provide_account_service(
    session: NamedDependency[AsyncSession],
    image_storage: NamedDependency[ImageStorage | None],
    passwords: NamedDependency[Passwords],
    principals: NamedDependency[PrincipalCache],
    now: NamedDependency[datetime],
) -> AccountService:
    return create_account_service(
        session,
        image_storage=image_storage,
        passwords=passwords,
        forget_principal=partial(principals.forget_after_commit, session),
        now=now,
    )
