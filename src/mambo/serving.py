"""What the commands work with: the environment, the database and the server they start, each ended again."""

import os
import secrets
import signal
import socket
import sys
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import asyncpg
import click
import uvicorn
from alembic import command as alembic
from alembic.util import CommandError
from sqlalchemy.exc import ProgrammingError
from uvicorn.config import STARTUP_FAILURE
from uvicorn.supervisors import ChangeReload, Multiprocess

from mambo.database.migrations import alembic_config
from mambo.settings import (
    STAND_INS,
    Settings,
    SettingsError,
    async_database_url,
    environment,
    find_half_configured,
    find_not_configured,
    load_settings,
)

if TYPE_CHECKING:
    from mambo.devkit.demo import Admin


def run_alembic(data_dir: Path, command: str, *arguments: str, **options: bool) -> None:
    """Run one of Alembic's commands on the database of DATABASE_URL, or on the embedded one."""
    with database(data_dir) as url:
        getattr(alembic, command)(alembic_config(url), *arguments, **options)


@contextmanager
def database(data_dir: Path) -> Iterator[str]:
    """The URL of DATABASE_URL, or of the embedded PostgreSQL while it is needed."""
    given = environment().get("DATABASE_URL")
    with ExitStack() as stack, settings_errors_told():
        url = async_database_url(given) if given else stack.enter_context(embedded(data_dir))
        with database_errors_told(url):
            yield url


@contextmanager
def prepared_environment(data_dir: Path, address: str | None) -> Iterator[Settings]:
    """The settings, with what development may leave out made up: workers find it all in the environment.

    `address` is where the API will answer; None for a command that works beside it.
    """
    given = environment()
    with ExitStack() as stack, settings_errors_told():
        if given.get("MAMBO_ENV", "development") == "development":
            if problems := find_half_configured(given):  # in production `load_settings` refuses that
                raise SettingsError(" ".join(problems))
            make_folder(data_dir)
            os.environ["MAMBO_DATA_DIR"] = str(data_dir)
            if "SECRET_KEY" not in given:
                os.environ["SECRET_KEY"] = local_secret(data_dir / "secret_key")
            if "DATABASE_URL" not in given:
                load_settings({**environment(), "DATABASE_URL": "postgresql://"})  # a mistake is told before the start
                if address:  # beside a server it may run already
                    click.echo(f"Starting PostgreSQL in {data_dir}")
                os.environ["DATABASE_URL"] = stack.enter_context(embedded(data_dir))
            os.environ |= stack.enter_context(vendors(data_dir, given, address))
        yield load_settings(environment())


@contextmanager
def vendors(data_dir: Path, given: dict[str, str], address: str | None) -> Iterator[dict[str, str]]:
    """The variables of the stand-ins for R2 and Mux, of those that are not configured, while they are needed."""
    missing = find_not_configured(given)
    if not missing:
        yield {}
        return
    with ExitStack() as stack:
        try:
            from mambo.devkit.vendors import stand_ins  # noqa: PLC0415 - only development has it

            webhook_url = f"{local(address)}/api/mux/webhook" if address else None
            variables = stack.enter_context(stand_ins(data_dir, missing, webhook_url=webhook_url))
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
def embedded(data_dir: Path) -> Iterator[str]:
    make_folder(data_dir)
    try:
        from mambo.devkit.postgres import embedded_postgres  # noqa: PLC0415 - the dev group may not be installed
    except ImportError:
        raise click.ClickException(
            "DATABASE_URL is not set, and the embedded PostgreSQL is not installed: set it, or run `uv sync`."
        ) from None
    with embedded_postgres(data_dir) as url:
        yield url


def make_folder(data_dir: Path) -> None:
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
    """A random key for development, made once."""
    if not file.exists():
        with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as private:
            private.write(secrets.token_urlsafe(48))
    return file.read_text()


def upgrade(url: str, revision: str = "head") -> None:
    with database_errors_told(url):
        alembic.upgrade(alembic_config(url), revision)


def prepare_school(settings: Settings, data_dir: Path, *, with_demo: bool) -> "Admin":
    from mambo.devkit import demo  # noqa: PLC0415 - not a part of production

    return demo.prepare(settings.database_url, data_dir, with_demo=with_demo)


@contextmanager
def listen(host: str, port: int) -> Iterator[socket.socket]:
    """A listening socket, taken before anything is started."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(2048)
    except OSError as error:
        raise click.ClickException(
            f"Cannot listen on {host}:{port} ({error.strerror}): choose another port with --port."
        ) from None
    listener.set_inheritable(True)
    with listener:
        yield listener


def run_server(listener: socket.socket, *, workers: int, reload: bool) -> None:
    host, port = listener.getsockname()[:2]
    config = uvicorn.Config(
        "mambo.app:create_server_app",
        factory=True,
        host=host,
        port=port,
        workers=workers,
        reload=reload,
        reload_dirs=[str(Path(__file__).parent)] if reload else None,
        log_config=None,
        access_log=False,
        server_header=False,
        # A client's address comes from a proxy's header only where the operator names the proxies.
        proxy_headers="FORWARDED_ALLOW_IPS" in os.environ,
        # Longer than clients and proxies keep idle connections, so that they do not meet one that was just closed.
        timeout_keep_alive=75,
        timeout_graceful_shutdown=25,
    )
    server = uvicorn.Server(config)
    if reload:
        ChangeReload(config, target=server.run, sockets=[listener]).run()
    elif workers > 1:
        supervisor = Multiprocess(config, sockets=[listener])
        supervisor.run()
        if any(worker.exitcode == STARTUP_FAILURE for worker in supervisor.processes):
            sys.exit(STARTUP_FAILURE)
    else:
        server.run(sockets=[listener])
        if not server.started:
            sys.exit(STARTUP_FAILURE)


def announce_ready(address: str) -> None:
    """Print `ready` once the API answers, from a thread that watches for it."""
    url = f"{local(address)}/health/ready"
    pause = threading.Event()

    def watch() -> None:
        while True:
            try:
                with urllib.request.urlopen(url, timeout=5):  # noqa: S310 - our own address
                    click.echo("ready")
                    return
            except OSError:
                pause.wait(0.1)

    threading.Thread(target=watch, daemon=True).start()


def local(address: str) -> str:
    """The address as this machine reaches it."""
    return address.replace("//0.0.0.0:", "//127.0.0.1:").replace("//[::]:", "//[::1]:")


@contextmanager
def stopped_by_signals() -> Iterator[None]:
    """Leave through the `finally` blocks, which stop what was started, on SIGTERM as on Ctrl-C."""

    def leave(_signal: int, _frame: FrameType | None) -> None:
        sys.exit(0)

    signal.signal(signal.SIGTERM, leave)
    try:
        yield
    except KeyboardInterrupt:
        click.echo("stopped")


@contextmanager
def settings_errors_told() -> Iterator[None]:
    try:
        yield
    except SettingsError as error:
        raise click.ClickException(str(error)) from None


@contextmanager
def database_errors_told(url: str) -> Iterator[None]:
    """Say in a sentence why the database could not be worked with, without the password."""
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
    except ProgrammingError as error:
        if getattr(error.orig, "sqlstate", None) not in {"42P01", "42703"}:  # an unknown table or column
            raise
        raise click.ClickException("The database is not migrated to this version: run `mambo db upgrade`.") from None
    except (OSError, asyncpg.PostgresConnectionError, asyncpg.CannotConnectNowError):
        raise click.ClickException(
            f"The database at {where} does not answer: check DATABASE_URL, and that PostgreSQL runs there."
        ) from None
