"""`mambo media`: all of the background work at once, with progress and a table."""

import asyncio
import sys
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, ExitStack, closing
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import click
from msgspec import Struct

from mambo.cli.options import data_dir_option

if TYPE_CHECKING:
    from rich.progress import Progress

    from mambo.jobs import Job
    from mambo.maintenance.service import MaintenanceService
    from mambo.settings import Settings

MAX_SHOWN = 20

JobT = TypeVar("JobT", bound="Job")


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
    from mambo.cli import server, services

    with ExitStack() as stack:
        stack.enter_context(server.stopped_by_signals())
        settings = stack.enter_context(services.prepared_environment(data_dir, None))
        stack.enter_context(services.database_errors_reported(settings.database_url))
        lines = asyncio.run(run(settings))
    print_table(lines)
    if any(line.has_failed for line in lines):
        sys.exit(1)


class Line(Struct):
    """A line of the table: what was counted, and a sentence or name for each item that a person should know."""

    what: str
    count: int
    details: list[str]
    has_failed: bool = False


def print_table(lines: list[Line]) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table("What", "Count", "Which, or why not")
    for line in lines:
        more = len(line.details) - MAX_SHOWN
        details = line.details[:MAX_SHOWN] + ([f"and {more} more"] if more > 0 else [])
        table.add_row(line.what, str(line.count), escape("\n".join(details)))
    Console().print(table)


async def run(settings: "Settings") -> list[Line]:
    """Run all of the background work once."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn

    from mambo.clock import utc_now
    from mambo.database.session import Transactions, create_engine
    from mambo.maintenance.service import MaintenanceService
    from mambo.resources import create_image_storage, create_video_host
    from mambo.web.request_log import configure_logging

    engine = create_engine(settings.database_url, pool_size=2)
    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    async with AsyncExitStack() as stack:
        stack.push_async_callback(engine.dispose)
        storage = create_image_storage(settings)
        host = create_video_host(settings)
        if storage is not None:
            await stack.enter_async_context(storage.opened())
        if host is not None:
            stack.enter_context(closing(host))
        console = Console(stderr=True, quiet=not sys.stderr.isatty())
        progress = stack.enter_context(Progress(*columns, console=console, transient=True))
        configure_logging(is_production=settings.is_production)  # now, so that log lines are printed above the progress
        maintenance = MaintenanceService(Transactions(engine), host, storage, utc_now)
        checked, check_failures = await run_jobs(
            progress, "Asking Mux about unfinished videos", maintenance.get_checks, maintenance.check_upload
        )
        await maintenance.remove_unused_uploads()
        deleted, delete_failures = await run_jobs(
            progress, "Deleting what nothing names", maintenance.get_deletions, maintenance.delete_object
        )
        return [
            Line("Unfinished videos, asked about", checked, check_failures, bool(check_failures)),
            Line("Images and videos, deleted", deleted, delete_failures, bool(delete_failures)),
            Line("Events older than 30 days, removed", await maintenance.remove_old_events(), []),
            *await compare(progress, maintenance),
        ]


async def run_jobs(
    progress: "Progress",
    what: str,
    get_jobs: Callable[[], Awaitable[Sequence[JobT]]],
    run_job: Callable[[JobT], Awaitable[None]],
) -> tuple[int, list[str]]:
    """Run each job once, also those that other jobs cause; return the number done, and a sentence for each failure."""
    from mambo.errors import MamboError

    task = progress.add_task(what, total=None)
    seen: set[JobT] = set()
    failures: list[str] = []
    while jobs := [job for job in await get_jobs() if job not in seen]:
        seen.update(jobs)
        progress.update(task, total=len(seen))
        for job in jobs:
            try:
                await run_job(job)
            except MamboError as error:
                failures.append(f"{job}: {error.detail}")
            progress.advance(task)
    return len(seen) - len(failures), failures


async def compare(progress: "Progress", maintenance: "MaintenanceService") -> list[Line]:
    """Compare what Mux and the image storage have with what the database names."""
    from mambo.errors import MamboError

    progress.add_task("Comparing with Mux and the image storage", total=None)
    try:
        orphans, missing = await maintenance.compare_assets()
        images = await maintenance.find_orphaned_images()
    except MamboError as error:
        return [Line("Comparing with Mux and the image storage", 0, [error.detail], has_failed=True)]
    return [
        Line("Assets at Mux that nothing here names", len(orphans), orphans),
        Line("Lessons whose video Mux does not have", len(missing), missing),
        Line("Images in storage that nothing names", len(images), images),
    ]
