"""The `mambo` command."""

import sys
from contextlib import ExitStack
from pathlib import Path

import click
from dotenv import load_dotenv

from mambo.settings import (
    STAND_INS,
    SettingsError,
    check_environment_name,
    environment,
    find_half_configured,
    find_not_configured,
    find_problems,
    load_settings,
    masked,
)

ROLE = click.Choice(["user", "instructor", "admin"])

data_dir_option = click.option(
    "--data-dir",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path(".mambo"),
    show_default=True,
    envvar="MAMBO_DATA_DIR",
    help="Where the embedded services keep their data.",
)


password_stdin_option = click.option(
    "--password-stdin", is_flag=True, help="Read the password from standard input; without, a prompt asks for it."
)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="mambo")
def main() -> None:
    """Mambo, the backend of a video-based, gamified learning platform.

    Start with `mambo serve`: it needs nothing else. Settings come from the environment and from .env.
    """
    load_dotenv(Path(".env"))  # also for what is not ours to read: options' variables, and uvicorn's


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
    """Serve the API; without DATABASE_URL, on an embedded PostgreSQL; without MUX_* and AWS_*, with stand-ins for both.

    It migrates the database first. In development it also makes a local admin, whose password it prints and keeps
    in DATA_DIR/admin.json, and loads two demo courses, once. Ctrl-C stops everything.
    """
    if reload and workers > 1:
        raise click.UsageError("--reload runs one worker: leave out --workers.")
    from mambo import serving

    with ExitStack() as stack:
        stack.enter_context(serving.stopped_by_signals())
        listener = stack.enter_context(serving.listen(host, port))
        address = f"http://{f'[{host}]' if ':' in host else host}:{listener.getsockname()[1]}"
        settings = stack.enter_context(serving.prepared_environment(data_dir, address))
        click.echo("Migrating the database")
        serving.upgrade(settings.database_url)
        admin = None if settings.is_production else serving.prepare_school(settings, data_dir, with_demo=not no_demo)
        click.echo(f"Mambo {address}   API documentation {address}/docs")
        if admin:
            click.echo(f"Admin {admin.email}   password {admin.password}   (kept in {data_dir / 'admin.json'})")
        serving.announce_ready(address)
        serving.run_server(listener, workers=workers, reload=reload)


@main.command()
@data_dir_option
def check(data_dir: Path) -> None:
    """Print the effective settings, secrets masked, and what is missing or unsafe."""
    given = environment()
    is_production = given.get("MAMBO_ENV") == "production"
    stand_ins = {"DATABASE_URL": "postgresql://", "SECRET_KEY": "-"}
    missing = [name for name in stand_ins if name not in given]
    try:
        check_environment_name(given)
        settings = load_settings({**given, "MAMBO_ENV": "development", **{name: stand_ins[name] for name in missing}})
    except SettingsError as error:
        raise click.ClickException(str(error)) from None
    shown = masked(settings) | {"MAMBO_ENV": given.get("MAMBO_ENV", "development"), "MAMBO_DATA_DIR": str(data_dir)}
    if not is_production:
        made = {"DATABASE_URL": f"embedded PostgreSQL in {data_dir}", "SECRET_KEY": f"random, kept in {data_dir}"}
        shown |= {name: made[name] for name in missing}
    for name, value in shown.items():
        click.echo(f"{name:<24}{'(not set)' if name in missing and is_production else value}")
    for vendor in [] if is_production else find_not_configured(given):
        click.echo(f"{vendor} is not configured: `mambo serve` starts {STAND_INS[vendor].format(folder=data_dir)}.")
    if not settings.smtp_url:
        what = "nobody can reset a forgotten password by e-mail" if is_production else f"mails go to {data_dir}/mail"
        click.echo(f"SMTP_URL is not set: {what}.")
    problems = [f"{name} is not set." for name in missing] if is_production else []
    problems += [p for p in find_problems(settings) if not any(p.startswith(name) for name in missing)]
    for problem in problems:
        click.echo(f"! {problem}", err=True)
    if not problems:
        click.echo("Nothing is missing.")
    elif is_production or find_half_configured(given):
        sys.exit(1)
    else:
        click.echo("Fine for development; production would refuse to start.", err=True)


@main.group()
def media() -> None:
    """Look after pictures and videos."""


@media.command("reconcile")
@data_dir_option
def media_reconcile(data_dir: Path) -> None:
    """Ask Mux about every unfinished video, delete what is due, and list what belongs to nothing.

    A server does the same in the background, a little at a time. It is safe to run beside one, and again. It fails
    when R2 or Mux did, after it has done what it could.
    """
    from mambo import reconciling, serving

    with ExitStack() as stack:
        stack.enter_context(serving.stopped_by_signals())
        settings = stack.enter_context(serving.prepared_environment(data_dir, None))
        stack.enter_context(serving.database_errors_told(settings.database_url))
        if not reconciling.reconcile(settings):
            sys.exit(1)


@main.group()
def game() -> None:
    """Look after XP: in DATABASE_URL, or in the embedded database."""


@game.command("verify")
@data_dir_option
def game_verify(data_dir: Path) -> None:
    """Compare everyone's XP with the ledger, and fail when a total or a week is not what follows from it.

    It is safe to run beside a server: a learner's rows are compared as they were at one moment.
    """
    from mambo import auditing, serving

    with serving.database(data_dir) as url:
        found = auditing.verify(url)
    if found:
        raise click.ClickException(f"What differs from the ledger: {found}. `mambo game rebuild` corrects it.")
    click.echo("Everyone's XP is what the ledger says.")


@game.command("rebuild")
@click.option("--yes", is_flag=True, help="Do not ask.")
@data_dir_option
def game_rebuild(yes: bool, data_dir: Path) -> None:  # noqa: FBT001
    """Write what the ledger says wherever a total or a week is something else.

    It is safe to run beside a server: payments wait for a moment, and none is lost.
    """
    from mambo import auditing, serving

    if not yes:
        click.confirm("Totals that differ from the ledger will be overwritten. Go on?", abort=True)
    with serving.database(data_dir) as url:
        click.echo(f"Corrected: {auditing.rebuild(url)}.")


@main.group()
def users() -> None:
    """Make and change accounts: in DATABASE_URL, or in the embedded database.

    No password is an argument, for arguments stay in the shell's history and show in the list of processes.
    """


@users.command("create")
@click.option("--email", required=True, help="What the person signs in with.")
@click.option("--first-name", required=True)
@click.option("--last-name", required=True)
@click.option("--role", type=ROLE, default="user", show_default=True, help="What the person may do.")
@password_stdin_option
@data_dir_option
def users_create(
    email: str,
    first_name: str,
    last_name: str,
    role: str,
    password_stdin: bool,  # noqa: FBT001
    data_dir: Path,
) -> None:
    """Make an account, as for the first admin of a school."""
    from mambo import administering

    password = administering.read_password(from_stdin=password_stdin)
    click.echo(
        administering.run(data_dir, lambda registry: registry.create(email, first_name, last_name, role, password))
    )


@users.command("list")
@click.option("--role", type=ROLE, help="Only those with this role.")
@click.option("--search", help="Only those whose name or e-mail address holds this.")
@click.option("--limit", type=click.IntRange(1, 100_000), default=100, show_default=True, help="How many at most.")
@data_dir_option
def users_list(role: str | None, search: str | None, limit: int, data_dir: Path) -> None:
    """List accounts, the newest first."""
    from mambo import administering

    administering.show(administering.run(data_dir, lambda registry: registry.find(search, role, limit + 1)), limit)


@users.command("set-role")
@click.argument("email")
@click.argument("role", type=ROLE)
@data_dir_option
def users_set_role(email: str, role: str, data_dir: Path) -> None:
    """Give the account of EMAIL another role; the last active admin stays one."""
    from mambo import administering

    click.echo(administering.run(data_dir, lambda registry: registry.set_role(email, role)))


@users.command("set-password")
@click.argument("email")
@password_stdin_option
@data_dir_option
def users_set_password(email: str, password_stdin: bool, data_dir: Path) -> None:  # noqa: FBT001
    """Give the account of EMAIL another password, and sign it out everywhere."""
    from mambo import administering

    password = administering.read_password(from_stdin=password_stdin)
    click.echo(administering.run(data_dir, lambda registry: registry.set_password(email, password)))


@users.command("disable")
@click.argument("email")
@data_dir_option
def users_disable(email: str, data_dir: Path) -> None:
    """Lock the account of EMAIL and sign it out everywhere; the last active admin stays."""
    from mambo import administering

    click.echo(administering.run(data_dir, lambda registry: registry.disable(email)))


@users.command("enable")
@click.argument("email")
@data_dir_option
def users_enable(email: str, data_dir: Path) -> None:
    """Unlock the account of EMAIL: it can sign in again."""
    from mambo import administering

    click.echo(administering.run(data_dir, lambda registry: registry.enable(email)))


@main.group()
def db() -> None:
    """Migrate the database: DATABASE_URL, or the embedded one."""


@db.command("upgrade")
@click.argument("revision", default="head")
@data_dir_option
def db_upgrade(revision: str, data_dir: Path) -> None:
    """Bring the database to REVISION (head, the newest)."""
    run_alembic(data_dir, "upgrade", revision)


@db.command("downgrade")
@click.argument("revision", default="-1")
@data_dir_option
def db_downgrade(revision: str, data_dir: Path) -> None:
    """Take the database back to REVISION: -1 is one step, base is empty. Use -- before a negative number."""
    run_alembic(data_dir, "downgrade", revision)


@db.command("current")
@data_dir_option
def db_current(data_dir: Path) -> None:
    """Print the database's revision."""
    run_alembic(data_dir, "current", verbose=False)


@db.command("check")
@data_dir_option
def db_check(data_dir: Path) -> None:
    """Fail when the models have changed and no migration says so."""
    run_alembic(data_dir, "check")


@db.command("revision")
@click.option("-m", "--message", required=True, help="What the migration does.")
@data_dir_option
def db_revision(message: str, data_dir: Path) -> None:
    """Write a migration for what has changed in the models."""
    run_alembic(data_dir, "revision", message, autogenerate=True)


def run_alembic(data_dir: Path, command: str, *arguments: str, **options: bool) -> None:
    from mambo import serving

    serving.run_alembic(data_dir, command, *arguments, **options)
