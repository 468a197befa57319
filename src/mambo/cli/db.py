"""`mambo db`."""

from pathlib import Path

import click

from mambo.cli.options import data_dir_option


@click.group()
def db() -> None:
    """Migrate the database: DATABASE_URL, or the embedded one."""


@db.command()
@click.argument("revision", default="head")
@data_dir_option
def upgrade(revision: str, data_dir: Path) -> None:
    """Bring the database to REVISION (head, the newest)."""
    run_alembic(data_dir, "upgrade", revision)


@db.command()
@click.argument("revision", default="-1")
@data_dir_option
def downgrade(revision: str, data_dir: Path) -> None:
    """Take the database back to REVISION: -1 is one step, base is empty. Use -- before a negative number."""
    run_alembic(data_dir, "downgrade", revision)


@db.command()
@data_dir_option
def current(data_dir: Path) -> None:
    """Print the database's revision."""
    run_alembic(data_dir, "current", verbose=False)


@db.command()
@data_dir_option
def check(data_dir: Path) -> None:
    """Fail when the models have changed and no migration says so."""
    run_alembic(data_dir, "check")


@db.command()
@click.option("-m", "--message", required=True, help="What the migration does.")
@data_dir_option
def revision(message: str, data_dir: Path) -> None:
    """Write a migration for what has changed in the models."""
    run_alembic(data_dir, "revision", message, autogenerate=True)


def run_alembic(data_dir: Path, command: str, *arguments: str, **options: bool) -> None:
    from mambo.cli import services

    services.run_alembic(data_dir, command, *arguments, **options)
