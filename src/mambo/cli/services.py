"""What the commands work with: the settings, the database, and stand-ins for vendors while a command needs them."""

import os
import secrets
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
import click
from alembic import command as alembic
from alembic.util import CommandError
from sqlalchemy.exc import ProgrammingError

from mambo.cli.server import local_address
from mambo.database.migrations import alembic_config
from mambo.settings import Settings, SettingsError, load_settings, read_environment
from mambo.settings.production import find_half_configured, find_not_configured
from mambo.settings.urls import async_database_url

# What development has in place of a vendor that is not configured.
STAND_INS = {
    "Mux": "an emulator that plays nothing and keeps its uploads in {folder}/mux",
    "R2": "a local picture storage in {folder}/storage",
}


def run_alembic(data_dir: Path, command: str, *arguments: str, **options: bool) -> None:
    """Run one of Alembic's commands on the database of DATABASE_URL, or on the embedded one."""
    with database(data_dir) as url:
        getattr(alembic, command)(alembic_config(url), *arguments, **options)


def upgrade(url: str) -> None:
    """Migrate a database to the newest revision."""
    with database_errors_reported(url):
        alembic.upgrade(alembic_config(url), "head")


@contextmanager
def database(data_dir: Path) -> Iterator[str]:
    """Yield the URL of the database of DATABASE_URL, or of the embedded PostgreSQL, which runs during the block."""
    given = read_environment().get("DATABASE_URL")
    with ExitStack() as stack, settings_errors_reported():
        url = async_database_url(given) if given else stack.enter_context(embedded_database(data_dir))
        with database_errors_reported(url):
            yield url


@contextmanager
def prepared_environment(data_dir: Path, address: str | None) -> Iterator[Settings]:
    """Yield the settings; in development, what is not set is made up and put into the environment for the workers.

    `address` is where the API will respond; None for a command that runs beside a server.
    """
    given = read_environment()
    with ExitStack() as stack, settings_errors_reported():
        if given.get("MAMBO_ENV", "development") == "development":
            if problems := find_half_configured(given):  # in production `load_settings` refuses it
                raise SettingsError(" ".join(problems))
            make_folder(data_dir)
            os.environ["MAMBO_DATA_DIR"] = str(data_dir)
            if "SECRET_KEY" not in given:
                os.environ["SECRET_KEY"] = local_secret(data_dir / "secret_key")
            if "DATABASE_URL" not in given:
                # Report a mistake in the settings before PostgreSQL starts.
                load_settings({**read_environment(), "DATABASE_URL": "postgresql://"})
                if address:
                    click.echo(f"Starting PostgreSQL in {data_dir}")
                os.environ["DATABASE_URL"] = stack.enter_context(embedded_database(data_dir))
            os.environ |= stack.enter_context(stand_ins(data_dir, given, address))
        yield load_settings(read_environment())


@contextmanager
def stand_ins(data_dir: Path, given: dict[str, str], address: str | None) -> Iterator[dict[str, str]]:
    """Run stand-ins for the vendors that are not configured, and yield the variables that lead to them."""
    missing = find_not_configured(given)
    if not missing:
        yield {}
        return
    with ExitStack() as stack:
        try:
            from mambo.devkit import vendors  # the dev group may not be installed

            webhook_url = f"{local_address(address)}/api/mux/webhook" if address else None
            variables = stack.enter_context(vendors.stand_ins(data_dir, missing, webhook_url=webhook_url))
        except ImportError as error:
            raise click.ClickException(
                f"{error} Set the variables of {' and '.join(missing)}, or run `uv sync`."
            ) from None
        except OSError as error:
            raise click.ClickException(str(error)) from None
        for vendor in missing if address else []:
            click.echo(f"{vendor} is not configured: {STAND_INS[vendor].format(folder=data_dir)} stands in for it")
        yield variables


@contextmanager
def embedded_database(data_dir: Path) -> Iterator[str]:
    """Run the embedded PostgreSQL, and yield its URL."""
    make_folder(data_dir)
    try:
        from mambo.devkit.postgres import embedded_postgres  # the dev group may not be installed
    except ImportError:
        raise click.ClickException(
            "DATABASE_URL is not set, and the embedded PostgreSQL is not installed: set it, or run `uv sync`."
        ) from None
    with embedded_postgres(data_dir) as url:
        yield url


def make_folder(data_dir: Path) -> None:
    """Create the data directory, and check that it can be written."""
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
        probe = data_dir / ".writable"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise click.ClickException(
            f"The data directory {data_dir} cannot be written ({error.strerror}): choose another with --data-dir."
        ) from None


def local_secret(file: Path) -> str:
    """Return a random key for development, which is kept in `file`."""
    if not file.exists():
        with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as private:
            private.write(secrets.token_urlsafe(48))
    return file.read_text()


@contextmanager
def settings_errors_reported() -> Iterator[None]:
    """Report an error of the settings in a sentence."""
    try:
        yield
    except (SettingsError, ValueError) as error:
        raise click.ClickException(str(error)) from None


@contextmanager
def database_errors_reported(url: str) -> Iterator[None]:
    """Report an error of the database in a sentence, without the password."""
    parts = urlsplit(url)
    where = f"{parts.hostname or 'localhost'}:{parts.port or 5432}"
    try:
        yield
    except CommandError as error:
        raise click.ClickException(str(error)) from None
    except (asyncpg.InvalidAuthorizationSpecificationError, asyncpg.InvalidCatalogNameError) as error:
        raise click.ClickException(
            f"The database at {where} refused the connection ({error}): check DATABASE_URL."
        ) from None
    except (ProgrammingError, asyncpg.UndefinedTableError, asyncpg.UndefinedColumnError) as error:
        if getattr(getattr(error, "orig", error), "sqlstate", None) not in {"42P01", "42703"}:  # such a table or column
            raise
        raise click.ClickException("The database is not migrated to this version: run `mambo db upgrade`.") from None
    except (OSError, asyncpg.PostgresConnectionError, asyncpg.CannotConnectNowError):
        raise click.ClickException(
            f"The database at {where} does not respond: check DATABASE_URL, and that PostgreSQL runs there."
        ) from None
