"""Questions about accounts."""

from typing import Any
from uuid import UUID

import sqlalchemy as sa

from mambo.database.pool import Pool
from mambo.database.repository import Repository
from mambo.database.statements import Statement, param
from mambo.entitlements.models import Subscription
from mambo.users.models import User, UserProfile
from mambo.web.principal import Role


def has_email(email: str | sa.BindParameter[str]) -> sa.ColumnElement[bool]:
    """Whether it is the account with this normalized address; the index on `lower(email)` finds it."""
    return sa.func.lower(User.email) == sa.func.lower(email)


CREDENTIAL = Statement(
    sa.select(User.id, User.password_hash).where(has_email(param("email", sa.Text())), User.is_active)
)


class CredentialRepository:
    """What a password is checked against: read while nothing is locked and no connection held."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def get(self, email: str) -> tuple[UUID, str] | None:
        """Whose e-mail address it is, and the hash of their password; None when no active account has it."""
        row: tuple[UUID, str] | None = await self._pool.fetch_one(CREDENTIAL, email=email)
        return row


class UserRepository(Repository[User]):
    """Accounts with their profile and subscription."""

    model_type = User

    async def add_account(self, user: User, *, timezone: str, level_tag: str | None) -> User:
        """Store an account with an empty profile and subscription; a known e-mail is a conflict."""
        await self.add(user)
        self.session.add(UserProfile(user_id=user.id, timezone=timezone, current_level_tag=level_tag))
        self.session.add(Subscription(user_id=user.id))
        return user

    async def get_active_by_email(self, email: str) -> User | None:
        return await self.get_one_or_none(has_email(email), User.is_active.is_(True))

    async def confirm(self, user_id: UUID, password_hash: str, new_hash: str | None) -> bool:
        """Lock an active account whose password is still the one that was checked, and store a new hash, if there is.

        False when the account or its password has changed meanwhile.
        """
        is_as_checked = (User.id == user_id, User.password_hash == password_hash, User.is_active)
        if new_hash is None:
            query = sa.select(User.id).where(*is_as_checked).with_for_update(read=True)
            return await self.session.scalar(query) is not None
        change = sa.update(User).where(*is_as_checked).values(password_hash=new_hash).returning(User.id)
        return await self.session.scalar(change, execution_options={"synchronize_session": False}) is not None

    async def lock_active_admins(self) -> set[UUID]:
        """The ids of all admins who can sign in, none of whom changes until this transaction ends."""
        query = sa.select(User.id).where(User.role == Role.ADMIN, User.is_active).order_by(User.id)
        return set(await self.session.scalars(query.with_for_update(key_share=True)))

    async def change_row(self, user_id: UUID, model: type[Any], values: dict[str, Any]) -> None:
        """Set columns of the person's row in `model`; no values, no statement."""
        key = User.id if model is User else model.user_id
        if values:
            await self.session.execute(sa.update(model).where(key == user_id).values(values))


class ProfileRepository(Repository[UserProfile]):
    """Profiles."""

    model_type = UserProfile
    id_attribute = "user_id"

    async def lock(self, user_id: UUID) -> UserProfile:
        """The person's profile, which nobody else changes until this transaction ends."""
        query = sa.select(UserProfile).where(UserProfile.user_id == user_id)
        return (await self.session.scalars(query.with_for_update(key_share=True))).one()
