"""`mambo media`."""

import sys
from contextlib import ExitStack
from pathlib import Path

import click

from mambo.cli.options import data_dir_option


@click.group()
def media() -> None:
    """Look after images and videos."""


@media.command()
@data_dir_option
def reconcile(data_dir: Path) -> None:
    """Ask Mux about every unfinished video, delete what is due, and list what belongs to nothing.

    A server does the same in the background, a little at a time. It is safe to run beside one, and again. It fails
    when R2 or Mux did, after it has done what it could.
    """
    from mambo import reconciling
    from mambo.cli import server, services

    with ExitStack() as stack:
        stack.enter_context(server.stopped_by_signals())
        settings = stack.enter_context(services.prepared_environment(data_dir, None))
        stack.enter_context(services.database_errors_reported(settings.database_url))
        if not reconciling.reconcile(settings):
            sys.exit(1)
