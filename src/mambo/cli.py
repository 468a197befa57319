"""The `mambo` command."""

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
from uvicorn.supervisors import ChangeReload, Multiprocess

from mambo.db import alembic_config
from mambo.settings import (
    Settings,
    SettingsError,
    async_database_url,
    environment,
    find_problems,
    load_settings,
    masked,
)

if TYPE_CHECKING:
    from mambo.devkit.demo import Admin

EMBEDDED = "embedded PostgreSQL"
data_dir_option = click.option(
    "--data-dir",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path(".mambo"),
    show_default=True,
    envvar="MAMBO_DATA_DIR",
    help="Where the embedded services keep their data.",
)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="mambo")
def main() -> None:
    """Mambo, the backend of a video-based, gamified learning platform.

    Start with `mambo serve`: it needs nothing else. Settings come from the environment and from .env.
    """


@main.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port", default=8000, show_default=True, type=click.IntRange(0, 65535), help="Port; 0 takes a free one."
)
@click.option("--workers", default=1, show_default=True, type=click.IntRange(1, 64), help="Worker processes.")
@click.option("--reload", is_flag=True, help="Restart when the source changes (one worker).")
@click.option("--no-demo", is_flag=True, help="Do not load the demo courses.")
@data_dir_option
def serve(host: str, port: int, workers: int, reload: bool, no_demo: bool, data_dir: Path) -> None:  # noqa: FBT001
    """Serve the API; without DATABASE_URL, on an embedded PostgreSQL.

    It migrates the database first. In development it also makes a local admin, whose password it prints and keeps
    in DATA_DIR/admin.json, and loads two demo courses, once. Ctrl-C stops everything.
    """
    if reload and workers > 1:
        raise click.UsageError("--reload runs one worker: leave out --workers.")
    signal.signal(signal.SIGTERM, exit_cleanly)
    with ExitStack() as stack, suppress_interrupt():
        listener = stack.enter_context(listen(host, port))
        address = f"http://{host}:{listener.getsockname()[1]}"
        settings = stack.enter_context(prepared_environment(data_dir))
        upgrade(settings.database_url)
        admin = None if settings.is_production else prepare_school(settings, data_dir, with_demo=not no_demo)
        click.echo(f"Mambo {address}   API documentation {address}/docs")
        if admin:
            click.echo(f"Admin {admin.email}   password {admin.password}   (kept in {data_dir / 'admin.json'})")
        threading.Thread(target=announce_ready, args=(address,), daemon=True).start()
        run_server(listener, workers=workers, reload=reload)


@main.command()
@data_dir_option
def check(data_dir: Path) -> None:
    """Print the effective settings, secrets masked, and what is missing or unsafe."""
    given = environment()
    is_production = given.get("MAMBO_ENV") == "production"
    stand_ins = {"DATABASE_URL": "postgresql://", "SECRET_KEY": "-"}
    missing = [name for name in stand_ins if name not in given]
    with settings_errors_told():
        settings = load_settings({**given, "MAMBO_ENV": "development", **{name: stand_ins[name] for name in missing}})
    shown = masked(settings) | {"MAMBO_ENV": given.get("MAMBO_ENV", "development")}
    if not is_production:
        made = {"DATABASE_URL": f"{EMBEDDED} in {data_dir}", "SECRET_KEY": f"random, kept in {data_dir}"}
        shown |= {name: made[name] for name in missing}
    for name, value in shown.items():
        click.echo(f"{name:<24}{'(not set)' if name in missing and is_production else value}")
    problems = [f"{name} is not set." for name in missing] if is_production else []
    problems += [p for p in find_problems(settings) if not any(p.startswith(name) for name in missing)]
    for problem in problems:
        click.echo(f"! {problem}", err=True)
    if not problems:
        click.echo("Nothing is missing.")
    elif is_production:
        sys.exit(1)
    else:
        click.echo("Fine for development; production would refuse to start.", err=True)


@main.group()
def db() -> None:
    """Migrate the database: DATABASE_URL, or the embedded one."""


@db.command("upgrade")
@click.argument("revision", default="head")
@data_dir_option
def db_upgrade(revision: str, data_dir: Path) -> None:
    """Bring the database to REVISION (head, the newest)."""
    with database(data_dir) as url:
        upgrade(url, revision)


@db.command("downgrade")
@click.argument("revision", default="-1")
@data_dir_option
def db_downgrade(revision: str, data_dir: Path) -> None:
    """Take the database back to REVISION: -1 is one step, base is empty. Use -- before a negative number."""
    with database(data_dir) as url:
        alembic.downgrade(alembic_config(url), revision)


@db.command("current")
@data_dir_option
def db_current(data_dir: Path) -> None:
    """Print the database's revision."""
    with database(data_dir) as url:
        alembic.current(alembic_config(url), verbose=False)


@db.command("check")
@data_dir_option
def db_check(data_dir: Path) -> None:
    """Fail when the models have changed and no migration says so."""
    with database(data_dir) as url:
        alembic.check(alembic_config(url))


@db.command("revision")
@click.option("-m", "--message", required=True, help="What the migration does.")
@data_dir_option
def db_revision(message: str, data_dir: Path) -> None:
    """Write a migration for what has changed in the models."""
    with database(data_dir) as url:
        alembic.revision(alembic_config(url), message, autogenerate=True)


def upgrade(url: str, revision: str = "head") -> None:
    with database_errors_told(url):
        alembic.upgrade(alembic_config(url), revision)


@contextmanager
def database(data_dir: Path) -> Iterator[str]:
    """The URL of DATABASE_URL, or of the embedded PostgreSQL while it is needed."""
    given = environment().get("DATABASE_URL")
    with ExitStack() as stack, settings_errors_told():
        url = async_database_url(given) if given else stack.enter_context(embedded(data_dir))
        with database_errors_told(url):
            yield url


@contextmanager
def prepared_environment(data_dir: Path) -> Iterator[Settings]:
    """The settings, with what development may leave out made up: workers find it all in the environment."""
    given = environment()
    with ExitStack() as stack, settings_errors_told():
        if given.get("MAMBO_ENV", "development") == "development":
            make_folder(data_dir)
            if "SECRET_KEY" not in given:
                os.environ["SECRET_KEY"] = local_secret(data_dir / "secret_key")
            if "DATABASE_URL" not in given:
                load_settings({**environment(), "DATABASE_URL": "postgresql://"})
                os.environ["DATABASE_URL"] = stack.enter_context(embedded(data_dir))
        yield load_settings(environment())


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
        "mambo.app:create_app",
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
        timeout_graceful_shutdown=25,
    )
    server = uvicorn.Server(config)
    if reload:
        ChangeReload(config, target=server.run, sockets=[listener]).run()
    elif workers > 1:
        Multiprocess(config, sockets=[listener]).run()
    else:
        server.run(sockets=[listener])
        if not server.started:
            sys.exit(3)


def announce_ready(address: str) -> None:
    """Print `ready` once the API answers."""
    pause = threading.Event()
    parts = urlsplit(address)
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(parts.hostname or "", parts.hostname or "")  # noqa: S104
    url = f"http://{f'[{host}]' if ':' in host else host}:{parts.port}/health/ready"
    while True:
        try:
            with urllib.request.urlopen(url, timeout=5):
                click.echo("ready")
                return
        except OSError:
            pause.wait(0.1)


def exit_cleanly(_signal: int, _frame: FrameType | None) -> None:
    """Leave through the `finally` blocks, which stop what was started."""
    sys.exit(0)


@contextmanager
def suppress_interrupt() -> Iterator[None]:
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
    """Say in a sentence why a migration did not run, without the password."""
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
    except (OSError, asyncpg.PostgresConnectionError, asyncpg.CannotConnectNowError):
        raise click.ClickException(
            f"The database at {where} does not answer: check DATABASE_URL, and that PostgreSQL runs there."
        ) from None
