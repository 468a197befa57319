"""The `mambo` command: one module for each group of commands.

A command imports what it runs in its function, so that `--help` does not wait for it.
"""

from pathlib import Path

import click
from dotenv import load_dotenv

from mambo.cli.check import check
from mambo.cli.db import db
from mambo.cli.game import game
from mambo.cli.media import media
from mambo.cli.serve import serve
from mambo.cli.users import users


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="mambo")
def main() -> None:
    """Mambo, the backend of a video-based, gamified learning platform.

    Start with `mambo serve`: it needs nothing else. Settings come from the environment and from .env.
    """
    load_dotenv(Path(".env"))  # also for click's options and for uvicorn


for command in (serve, check, db, users, game, media):
    main.add_command(command)
