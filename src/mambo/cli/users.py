"""`mambo users`."""

from pathlib import Path

import click

from mambo.cli.options import data_dir_option

ROLE = click.Choice(["user", "instructor", "admin"])

password_stdin_option = click.option(
    "--password-stdin", is_flag=True, help="Read the password from standard input; without, a prompt asks for it."
)


@click.group()
def users() -> None:
    """Make and change accounts: in DATABASE_URL, or in the embedded database.

    No password is an argument, because arguments stay in the shell's history and show in the list of processes.
    """


@users.command()
@click.option("--email", required=True, help="What the person signs in with.")
@click.option("--first-name", required=True)
@click.option("--last-name", required=True)
@click.option("--role", type=ROLE, default="user", show_default=True, help="What the person may do.")
@password_stdin_option
@data_dir_option
def create(
    email: str,
    first_name: str,
    last_name: str,
    role: str,
    password_stdin: bool,  # noqa: FBT001
    data_dir: Path,
) -> None:
    """Make an account, as for the first admin of a school."""
    from mambo.cli import accounts

    password = accounts.read_password(from_stdin=password_stdin)
    click.echo(accounts.run(data_dir, accounts.create, email, first_name, last_name, role, password))


@users.command("list")
@click.option("--role", type=ROLE, help="Only those with this role.")
@click.option("--search", help="Only those whose name or e-mail address holds this.")
@click.option("--limit", type=click.IntRange(1, 100_000), default=100, show_default=True, help="How many at most.")
@data_dir_option
def list_accounts(role: str | None, search: str | None, limit: int, data_dir: Path) -> None:
    """List accounts, the newest first."""
    from mambo.cli import accounts

    accounts.show(accounts.find(data_dir, search, role, limit + 1), limit)


@users.command()
@click.argument("email")
@click.argument("role", type=ROLE)
@data_dir_option
def set_role(email: str, role: str, data_dir: Path) -> None:
    """Give the account of EMAIL another role; the last active admin stays one."""
    from mambo.cli import accounts

    click.echo(accounts.run(data_dir, accounts.set_role, email, role))


@users.command()
@click.argument("email")
@password_stdin_option
@data_dir_option
def set_password(email: str, password_stdin: bool, data_dir: Path) -> None:  # noqa: FBT001
    """Give the account of EMAIL another password, and sign it out everywhere."""
    from mambo.cli import accounts

    password = accounts.read_password(from_stdin=password_stdin)
    click.echo(accounts.run(data_dir, accounts.set_password, email, password))


@users.command()
@click.argument("email")
@data_dir_option
def disable(email: str, data_dir: Path) -> None:
    """Lock the account of EMAIL and sign it out everywhere; the last active admin stays."""
    from mambo.cli import accounts

    click.echo(accounts.run(data_dir, accounts.disable, email))


@users.command()
@click.argument("email")
@data_dir_option
def enable(email: str, data_dir: Path) -> None:
    """Unlock the account of EMAIL: it can sign in again."""
    from mambo.cli import accounts

    click.echo(accounts.run(data_dir, accounts.enable, email))
