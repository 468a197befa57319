"""`mambo users`: what its commands do with accounts, and what they read and print."""

import asyncio
import sys
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Concatenate, ParamSpec, TypeVar

import asyncpg
import click
import msgspec
from msgspec import Struct
from rich.console import Console
from rich.table import Table
from sqlalchemy.exc import DBAPIError

from mambo.accounts.repository import AccountReadRepository
from mambo.accounts.schemas import Account, AccountChange
from mambo.accounts.service import AccountService, create_account_service
from mambo.auth.passwords import Passwords
from mambo.auth.schemas import NewPassword, Registration
from mambo.cli import services
from mambo.clock import utc_now
from mambo.database.errors import translate_database_error
from mambo.database.pool import Pool
from mambo.database.session import Transactions, create_engine
from mambo.errors import MamboError
from mambo.web import error_handlers
from mambo.web.principal import Role

P = ParamSpec("P")
T = TypeVar("T")


class PasswordOnly(Struct):
    """A new password, with the constraints of the API."""

    password: NewPassword


async def create(
    accounts: AccountService, email: str, first_name: str, last_name: str, role: str, password: str
) -> str:
    values = {"email": email, "first_name": first_name, "last_name": last_name, "password": password}
    account = await accounts.create(msgspec.convert(values, Registration), Role(role))
    return f"{account.email} can sign in, with the role {account.role}."


async def set_role(accounts: AccountService, email: str, role: str) -> str:
    account = await accounts.change(await accounts.find(email), AccountChange(role=Role(role)))
    return f"{account.email} has the role {account.role}."


async def set_password(accounts: AccountService, email: str, password: str) -> str:
    password = msgspec.convert({"password": password}, PasswordOnly).password
    account = await accounts.set_password(email, password)
    return f"{account.email} has a new password, and is signed out everywhere."


async def disable(accounts: AccountService, email: str) -> str:
    account = await accounts.change(await accounts.find(email), AccountChange(is_active=False))
    return f"{account.email} is disabled, and signed out everywhere."


async def enable(accounts: AccountService, email: str) -> str:
    account = await accounts.change(await accounts.find(email), AccountChange(is_active=True))
    return f"{account.email} is enabled."


def run(
    data_dir: Path,
    command: Callable[Concatenate[AccountService, P], Awaitable[T]],
    *arguments: P.args,
    **options: P.kwargs,
) -> T:
    """Run a command in one transaction on the database of DATABASE_URL, or on the embedded one.

    Raises:
        ClickException: it failed; the message is a sentence.

    """

    async def work(url: str) -> T:
        engine = create_engine(url, pool_size=1)
        try:
            with closing(Passwords()) as passwords:
                async with Transactions(engine).begin() as session:
                    accounts = create_account_service(
                        session,
                        image_storage=None,
                        passwords=passwords,
                        forget_principal=lambda _: None,  # servers notice within a second
                        now=utc_now(),
                    )
                    return await command(accounts, *arguments, **options)
        finally:
            await engine.dispose()

    with services.database(data_dir) as url, reported_errors():
        return asyncio.run(work(url))


def find(data_dir: Path, search: str | None, role: str | None, limit: int) -> Sequence[Account]:
    """Return accounts of the same database, the newest first.

    Raises:
        ClickException: it failed; the message is a sentence.

    """

    async def work(url: str) -> Sequence[Account]:
        async with Pool(url, size=1).opened() as pool:
            accounts = AccountReadRepository(pool)
            return await accounts.get_list(search, Role(role) if role else None, utc_now(), limit=limit)

    with services.database(data_dir) as url, reported_errors():
        return asyncio.run(work(url))


@contextmanager
def reported_errors() -> Iterator[None]:
    """Turn the errors that the API would report to a client into a ClickException."""
    try:
        yield
    except (MamboError, msgspec.ValidationError, DBAPIError, asyncpg.PostgresError) as error:
        is_database_error = isinstance(error, (DBAPIError, asyncpg.PostgresError))
        known = translate_database_error(error) if is_database_error else error_handlers.translate_exception(error, {})
        if known is None:
            raise
        raise click.ClickException(sentence(known)) from None


def sentence(error: MamboError) -> str:
    """Return the error's detail, with the command's name of a field."""
    if not error.errors:
        return error.detail
    [problem, *_] = error.errors
    name = "The password" if problem.field == "password" else f"--{problem.field.replace('_', '-')}"
    return f"{name} {problem.message}."


def read_password(*, from_stdin: bool) -> str:
    """Return the line on standard input, or what is typed twice at a prompt that does not show it.

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


def show(accounts: Sequence[Account], limit: int) -> None:
    """Print a line for each of the first `limit` accounts, and whether there are more."""
    table = Table("E-mail", "Name", "Role", "State", "Since", box=None, pad_edge=False)
    for account in accounts[:limit]:
        state = "active" if account.is_active else "disabled"
        name = f"{account.first_name} {account.last_name}"
        table.add_row(account.email, name, account.role, state, f"{account.created_at:%Y-%m-%d}")
    # Wide, so that a program can read it line by line.
    Console(width=1000, markup=False, emoji=False, highlight=False).print(table)
    if len(accounts) > limit:
        click.echo("There are more: --limit shows them, --search narrows the list.", err=True)
