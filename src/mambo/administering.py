"""`mambo users`: accounts, made and changed by whoever runs the service."""

import asyncio
import sys
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import TypeVar

import click
import msgspec
from msgspec import Struct
from rich.console import Console
from rich.table import Table
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncSession

from mambo.accounts.repository import AccountRepository, AccountRow
from mambo.auth.passwords import HASHER, require_good_password
from mambo.auth.repository import SessionRepository
from mambo.auth.schemas import NewPassword, Registration
from mambo.cli import services
from mambo.clock import utc_now
from mambo.database.errors import translate_database_error
from mambo.database.session import create_engine
from mambo.errors import Conflict, MamboError, NotFound
from mambo.users.models import User
from mambo.users.repository import UserRepository, has_email
from mambo.users.rules import normalize_email, require_email
from mambo.web import error_handlers
from mambo.web.principal import Role

T = TypeVar("T")


class PasswordOnly(Struct):
    """A new password, held to the API's rule."""

    password: NewPassword


class Registry:
    """The accounts of a school, in one transaction; each change answers the sentence that says what was done."""

    def __init__(self, session: AsyncSession, now: datetime) -> None:
        self.users = UserRepository(session)
        self.people = AccountRepository(session)
        self.sessions = SessionRepository(session)
        self.now = now

    async def create(self, email: str, first_name: str, last_name: str, role: str, password: str) -> str:
        """Make an account under the rules of registering.

        Raises:
            Conflict: the e-mail has an account.
            Invalid: a value is not accepted.

        """
        given = {"email": email, "first_name": first_name, "last_name": last_name, "password": password}
        data = msgspec.convert(given, Registration)
        address = require_email("email", data.email)
        user = User(
            email=address,
            first_name=data.first_name.strip(),
            last_name=data.last_name.strip(),
            role=Role(role),
            password_hash=hash_good(data.password, address),
        )
        await self.users.add_account(user, timezone="UTC", level_tag=None)
        return f"{address} can sign in, with the role {role}."

    async def find(self, search: str | None, role: str | None, limit: int) -> Sequence[AccountRow]:
        return await self.people.find_people(self.now, search, Role(role) if role else None, limit=limit)

    async def set_role(self, email: str, role: str) -> str:
        user = await self._get(email)
        if role != Role.ADMIN:
            await self._keep_an_admin(user)
        user.role = Role(role)
        return f"{user.email} has the role {role}."

    async def set_password(self, email: str, password: str) -> str:
        password = msgspec.convert({"password": password}, PasswordOnly).password
        password_hash = hash_good(password, normalize_email(email))
        user = await self._get(email)
        user.password_hash = password_hash
        await self._sign_out(user)
        return f"{user.email} has a new password, and is signed out everywhere."

    async def disable(self, email: str) -> str:
        user = await self._get(email)
        await self._keep_an_admin(user)
        user.is_active = False
        await self._sign_out(user)
        return f"{user.email} is disabled, and signed out everywhere."

    async def enable(self, email: str) -> str:
        user = await self._get(email)
        user.is_active = True
        return f"{user.email} is enabled."

    async def _get(self, email: str) -> User:
        user = await self.users.get_one_or_none(has_email(normalize_email(email)))
        if user is None:
            raise NotFound(f"account: {email}")
        return user

    async def _keep_an_admin(self, user: User) -> None:
        if await self.users.lock_active_admins() == {user.id}:
            raise Conflict(f"{user.email} is the only active admin: make someone else an admin first.")

    async def _sign_out(self, user: User) -> None:
        """End the person's sessions, after the change: a sign-in that was quicker is waited for, and ended too."""
        await self.users.session.flush()
        await self.sessions.end_all(user.id, self.now)


def run(data_dir: Path, work: Callable[[Registry], Awaitable[T]]) -> T:
    """Do the work on the database of DATABASE_URL, or on the embedded one, all of it or nothing.

    Raises:
        ClickException: it failed, and why in a sentence.

    """
    with services.database(data_dir) as url:
        try:
            return asyncio.run(in_transaction(url, work))
        except (MamboError, msgspec.ValidationError, DBAPIError) as error:
            known = (
                translate_database_error(error)
                if isinstance(error, DBAPIError)
                else error_handlers.translate_exception(error, {})
            )
            if known is None:
                raise
            raise click.ClickException(sentence(known)) from None


async def in_transaction(url: str, work: Callable[[Registry], Awaitable[T]]) -> T:
    engine = create_engine(url, pool_size=1)
    try:
        async with AsyncSession(engine, expire_on_commit=False) as session, session.begin():
            return await work(Registry(session, utc_now()))
    finally:
        await engine.dispose()


def hash_good(password: str, email: str) -> str:
    require_good_password("password", password, email)
    return HASHER.hash(password)


def sentence(error: MamboError) -> str:
    """The error's detail, with a field called as the command calls it."""
    if not error.errors:
        return error.detail
    [problem, *_] = error.errors
    name = "The password" if problem.field == "password" else f"--{problem.field.replace('_', '-')}"
    return f"{name} {problem.message}."


def read_password(*, from_stdin: bool) -> str:
    """The line on standard input, or what is typed twice at a prompt that does not show it.

    Raises:
        ClickException: there is neither.

    """
    if not from_stdin and not sys.stdin.isatty():
        raise click.ClickException("There is no terminal to ask for the password: pipe it in with --password-stdin.")
    if not from_stdin:
        return str(click.prompt("Password", hide_input=True, confirmation_prompt=True))
    try:
        password = sys.stdin.buffer.read().decode().removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError:
        raise click.ClickException("The password on standard input is not UTF-8: encode it so.") from None
    if "\n" in password:
        raise click.ClickException("There is more than one line on standard input: give the password alone.")
    return password


def show(people: Sequence[AccountRow], limit: int) -> None:
    """Print a line for each of the first `limit` people, and whether there are more."""
    table = Table("E-mail", "Name", "Role", "State", "Since", box=None, pad_edge=False)
    for person in people[:limit]:
        state = "active" if person.is_active else "disabled"
        name = f"{person.first_name} {person.last_name}"
        table.add_row(person.email, name, person.role, state, f"{person.created_at:%Y-%m-%d}")
    # Wide, so that a line stays one line where it is read by a program.
    Console(width=1000, markup=False, emoji=False, highlight=False).print(table)
    if len(people) > limit:
        click.echo("There are more: --limit shows them, --search narrows the list.", err=True)
