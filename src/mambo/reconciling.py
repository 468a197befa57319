"""`mambo media reconcile`: all of the upkeep at once, for a person to watch."""

import asyncio
import sys
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, closing

from msgspec import Struct
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn
from rich.table import Table

from mambo.clock import utc_now
from mambo.database.session import Transactions, create_engine
from mambo.errors import MamboError
from mambo.maintenance.service import BatchResult, MaintenanceService
from mambo.resources import create_image_storage, create_video_host
from mambo.settings import Settings
from mambo.web.request_log import configure_logging

MOST_SHOWN = 20


class Line(Struct):
    """A line of the table: what was looked for, how many there were, and a sentence or name for each to know of."""

    what: str
    count: int
    told: list[str]
    has_failed: bool = False


def reconcile(settings: Settings) -> bool:
    """Do it, showing progress and then a table; False when something failed."""
    lines = asyncio.run(work(settings))
    table = Table("What", "Count", "Which, or why not")
    for line in lines:
        more = len(line.told) - MOST_SHOWN
        told = line.told[:MOST_SHOWN] + ([f"and {more} more"] if more > 0 else [])
        table.add_row(line.what, str(line.count), escape("\n".join(told)))
    Console().print(table)
    return not any(line.has_failed for line in lines)


async def work(settings: Settings) -> list[Line]:
    engine = create_engine(settings.database_url, pool_size=2)
    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    async with AsyncExitStack() as stack:
        stack.push_async_callback(engine.dispose)
        store = create_image_storage(settings)
        host = create_video_host(settings)
        if store is not None:
            await stack.enter_async_context(store.opened())
        if host is not None:
            stack.enter_context(closing(host))
        console = Console(stderr=True, quiet=not sys.stderr.isatty())
        progress = stack.enter_context(Progress(*columns, console=console, transient=True))
        configure_logging(is_production=settings.is_production)  # now, so that lines go above the progress
        upkeep = MaintenanceService(Transactions(engine), host, store, utc_now)
        unfinished, deletions = await upkeep.hasten()
        asked = await in_batches(progress, "Asking Mux about unfinished videos", upkeep.ask_mux, unfinished)
        deleted = await in_batches(progress, "Deleting what nothing names", upkeep.delete_due, deletions)
        return [
            Line("Unfinished videos, asked about", asked.done, asked.failed, bool(asked.failed)),
            Line("Pictures and videos, deleted", deleted.done, deleted.failed, bool(deleted.failed)),
            Line("Events older than 30 days, forgotten", await upkeep.forget_events(), []),
            *await compared(progress, upkeep),
        ]


async def in_batches(
    progress: Progress, what: str, step: Callable[[], Awaitable[BatchResult]], total: int
) -> BatchResult:
    """Take a step after another until one finds nothing to do."""
    task = progress.add_task(what, total=total)
    whole = BatchResult(0, [])
    while (tally := await step()).total:
        whole = BatchResult(whole.done + tally.done, whole.failed + tally.failed)
        progress.advance(task, tally.total)
    return whole


async def compared(progress: Progress, upkeep: MaintenanceService) -> list[Line]:
    """What Mux and the picture storage hold beside what the database names."""
    progress.add_task("Comparing with Mux and the picture storage", total=None)
    try:
        orphans, missing = await upkeep.compare_assets()
        pictures = await upkeep.orphaned_pictures()
    except MamboError as error:
        return [Line("Comparing with Mux and the picture storage", 0, [error.detail], has_failed=True)]
    return [
        Line("Assets at Mux that nothing here knows", len(orphans), orphans),
        Line("Lessons whose video Mux does not have", len(missing), missing),
        Line("Pictures in storage that nothing names", len(pictures), pictures),
    ]
