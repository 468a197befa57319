"""Queries on accounts and profiles."""

from datetime import datetime
from uuid import UUID

import sqlalchemy as sa
from msgspec import Struct

from mambo.database.repository import Query, ReadRepository, Repository
from mambo.database.statements import param
from mambo.entitlements.models import Subscription
from mambo.users.models import User, UserProfile


class Credential(Struct, frozen=True):
    """The e-mail address and the password hash of an account."""

    id: UUID
    email: str
    password_hash: str
    email_verified_at: datetime | None


def has_email(email: str | sa.BindParameter[str]) -> sa.ColumnElement[bool]:
    """Return the condition that an account has this normalized address; the index on `lower(email)` serves it."""
    return sa.func.lower(User.email) == sa.func.lower(email)


def fold(text: sa.SQLColumnExpression[str]) -> sa.ColumnElement[str]:
    """Return the text in lower case, letter by letter and independent of the database's locale."""
    return sa.func.lower(sa.collate(text, "pg_c_utf8"))


NAME_TEXT = fold(User.first_name + " " + User.last_name)
SEARCH_TEXT: sa.ColumnElement[str] = sa.func.user_search_text(User.first_name, User.last_name, User.email)


def contains(text: sa.SQLColumnExpression[str], words: sa.ColumnElement[str]) -> sa.ColumnElement[bool]:
    """Return the condition that a folded text contains `words` in any case."""
    return sa.func.strpos(text, folded_once(words)) > 0


def users_containing(words: sa.ColumnElement[str], text: sa.ColumnElement[str] = SEARCH_TEXT) -> sa.Subquery:
    """Return the id and role of each user whose `text`, a part of SEARCH_TEXT, contains `words`, from an index.

    PostgreSQL keeps conditions and a LIMIT that stand around it out of it, because of OFFSET 0. With them it may prefer
    to read all users in the order of their ids.
    """
    query = sa.func.search_query(folded_once(words))
    may_contain = sa.func.search_grams(SEARCH_TEXT).bool_op("@@")(query)
    return sa.select(User.id, User.role).where(may_contain, contains(text, words)).offset(0).subquery()


def folded_once(words: sa.ColumnElement[str]) -> sa.ScalarSelect[str]:
    """Return the words of a search folded by a subquery, which runs once per statement and not for each row."""
    return sa.select(fold(words)).scalar_subquery()


CREDENTIALS = sa.select(User.id, User.email, User.password_hash, User.email_verified_at)
CREDENTIAL_BY_ID = Query(CREDENTIALS.where(User.id == param("user_id", sa.Uuid())), Credential)
ACTIVE_CREDENTIAL_BY_EMAIL = Query(CREDENTIALS.where(has_email(param("email", sa.Text())), User.is_active), Credential)


class CredentialRepository(ReadRepository):
    """Reads credentials on the pool, so that no transaction is open while a password is hashed."""

    label = "user"

    async def find_active(self, email: str) -> Credential | None:
        """Return the credential of the active account with this normalized e-mail address."""
        return await self._one(ACTIVE_CREDENTIAL_BY_EMAIL, email=email)

    async def find(self, user_id: UUID) -> Credential | None:
        """Return the credential of an account, or None."""
        return await self._one(CREDENTIAL_BY_ID, user_id=user_id)

    async def get(self, user_id: UUID) -> Credential:
        """Return the credential of an account.

        Raises:
            NotFound: there is no such account.

        """
        return await self._required(CREDENTIAL_BY_ID, user_id=user_id)


class UserRepository(Repository[User]):
    """Loads and changes accounts."""

    model_type = User
    label = "user"

    async def add_account(self, user: User, *, timezone: str, level_tag: str | None) -> User:
        """Store an account with its profile and subscription.

        Raises:
            IntegrityError: the e-mail address has an account.

        """
        await self.add(user)
        self.session.add(UserProfile(user_id=user.id, timezone=timezone, current_level_tag=level_tag))
        self.session.add(Subscription(user_id=user.id))
        return user

    async def lock_with_password(self, user_id: UUID, password_hash: str, *, new_hash: str | None = None) -> bool:
        """Lock an active account if its stored hash is still `password_hash`, and store `new_hash` unless it is None.

        Returns False when the account was disabled or its password was changed since the hash was read.
        """
        is_unchanged = (User.id == user_id, User.password_hash == password_hash, User.is_active)
        if new_hash is None:
            query = sa.select(User.id).where(*is_unchanged).with_for_update(read=True)
            return await self.session.scalar(query) is not None
        change = sa.update(User).where(*is_unchanged).values(password_hash=new_hash).returning(User.id)
        return await self.session.scalar(change, execution_options={"synchronize_session": False}) is not None

    async def confirm_email(self, user_id: UUID, now: datetime) -> None:
        """Store when the e-mail address was confirmed; only the first time counts."""
        query = sa.update(User).where(User.id == user_id, User.email_verified_at.is_(None))
        await self.session.execute(query.values(email_verified_at=now))


class ProfileRepository(Repository[UserProfile]):
    """Loads and changes profiles, which have the id of their account."""

    model_type = UserProfile
    id_attribute = "user_id"

    async def lock(self, user_id: UUID) -> UserProfile:
        """Return a profile, and lock it until the transaction ends."""
        query = sa.select(UserProfile).where(UserProfile.user_id == user_id)
        return (await self.session.scalars(query.with_for_update(key_share=True))).one()
