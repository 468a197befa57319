"""Asks Mux what no event told, deletes what nothing names any more, and finds what belongs to nothing.

Each step takes its rows with SKIP LOCKED and a lease, so any number of workers may run it at once.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, timedelta

import structlog
from apscheduler.schedulers.asyncio import AsyncIOScheduler
from apscheduler.triggers.interval import IntervalTrigger
from msgspec import Struct

from mambo.adapters.storage import ImageStorage
from mambo.adapters.video import UploadStatus, VideoHost
from mambo.auth.repository import SessionRepository
from mambo.clock import Clock
from mambo.database.session import Transactions
from mambo.deletions.models import DeletionKind
from mambo.deletions.repository import DeletionRepository
from mambo.errors import MamboError, Unavailable
from mambo.videos.repository import VideoRepository, WebhookEventRepository
from mambo.videos.service import VideoService

log = structlog.get_logger(__name__)

BATCH = 10
EVENTS_KEPT = timedelta(days=30)
YOUNG = timedelta(hours=24)  # a picture may still be on its way to the form that names it


class BatchResult(Struct):
    """What came of one batch; `failed` holds a sentence for each that failed."""

    done: int
    failed: list[str]

    @property
    def total(self) -> int:
        return self.done + len(self.failed)


class MaintenanceService:
    """The chores; without a host or a store, what needs them is left alone."""

    def __init__(
        self,
        transactions: Transactions,
        host: VideoHost | None,
        store: ImageStorage | None,
        clock: Clock,
    ) -> None:
        self.transactions, self.host, self.store, self.clock = transactions, host, store, clock

    async def do_what_is_due(self) -> None:
        """Go through everything that is due once; what fails is logged and stays due."""
        for tally in (await self.ask_mux(), await self.delete_due()):
            for failure in tally.failed:
                log.warning("upkeep failed", reason=failure)
        await self.forget_events()
        await self.forget_sessions()

    async def ask_mux(self) -> BatchResult:
        """Ask Mux about a batch of unfinished uploads that are due; each is due once in five minutes."""
        if self.host is None:
            return BatchResult(0, [])
        now = self.clock()
        async with self.transactions.begin() as session:
            uploads = await VideoRepository(session).claim_to_ask(now, limit=BATCH)
        videos = VideoService(self.transactions, self.host, now)
        tally = BatchResult(0, [])
        for upload in uploads:
            try:
                await videos.ask(upload)
                tally.done += 1
            except MamboError as error:
                tally.failed.append(f"Video upload {upload.id}: {error.detail}")
        return tally

    async def delete_due(self) -> BatchResult:
        """Delete a batch of what is due at R2 and Mux; what fails is tried again later, ever less often.

        Learners' videos that nobody submitted in time become due here. A picture is looked for again when its lease is
        over, and until then nobody may show it: someone may have looked at it just before it was deleted, and be about
        to store its URL.
        """
        kinds = [DeletionKind.PICTURE] if self.store else []
        kinds += [DeletionKind.ASSET, DeletionKind.UPLOAD] if self.host else []
        async with self.transactions.begin() as session:
            await VideoRepository(session).remove_unused(self.clock(), limit=BATCH)
            deletions = await DeletionRepository(session).claim(kinds, limit=BATCH)
        tally = BatchResult(0, [])
        for deletion in deletions:
            try:
                rest = await self._delete(deletion.kind, deletion.name)
            except MamboError as error:
                tally.failed.append(f"Deleting {deletion.kind} {deletion.name}: {error.detail}")
                async with self.transactions.begin() as session:
                    await DeletionRepository(session).postpone(deletion.kind, deletion.name, error.detail)
            else:
                tally.done += 1
                async with self.transactions.begin() as session:
                    if rest is not None:
                        await DeletionRepository(session).note(*rest)
                    if rest != (deletion.kind, deletion.name):
                        await DeletionRepository(session).remove_pending(deletion.kind, deletion.name)
        return tally

    async def _delete(self, kind: DeletionKind, name: str) -> tuple[DeletionKind, str] | None:
        """Delete one thing; answers what is left: to see that a picture is gone, or to delete an upload's asset."""
        if kind is DeletionKind.PICTURE and self.store is not None:
            key = own_key(self.store, name)
            if key is not None and await self.store.inspect(key) is not None:
                await self.store.delete(key)
                return kind, name
        elif self.host is not None:
            if kind is DeletionKind.ASSET:
                await self.host.delete_asset(name)
            elif not await self.host.cancel_upload(name) and (upload := await self.host.get_upload(name)):
                if upload.status is UploadStatus.WAITING:
                    raise Unavailable("Mux did not cancel the upload.")
                return (DeletionKind.ASSET, upload.asset_id) if upload.asset_id else None
        return None

    async def hasten(self) -> tuple[int, int]:
        """Make all unfinished uploads and all deletions that failed due now; returns how many of each are due."""
        async with self.transactions.begin() as session:
            uploads = await VideoRepository(session).hasten(self.clock())
            deletions = await DeletionRepository(session).hasten()
        return uploads, deletions

    async def forget_events(self) -> int:
        """Delete Mux's events that are older than 30 days; returns how many."""
        async with self.transactions.begin() as session:
            return await WebhookEventRepository(session).forget_before(self.clock() - EVENTS_KEPT)

    async def forget_sessions(self) -> int:
        """Delete sign-ins that are over, with their refresh tokens; returns how many."""
        async with self.transactions.begin() as session:
            return await SessionRepository(session).delete_expired(self.clock())

    async def compare_assets(self) -> tuple[list[str], list[str]]:
        """The assets of this Mux environment that nothing here knows, and the lessons whose asset it does not have."""
        if self.host is None:
            return [], []
        at_mux = {asset.id async for asset in self.host.list_assets()}
        async with self.transactions.begin() as session:
            known = await VideoRepository(session).get_asset_ids()
            titles = await VideoRepository(session).get_lesson_titles()
        orphans = sorted(at_mux - known)
        return orphans, [f"{title} ({asset_id})" for asset_id, title in titles.items() if asset_id not in at_mux]

    async def orphaned_pictures(self) -> list[str]:
        """The URLs of pictures in the bucket, older than a day, that nothing names and that are not due to go."""
        if self.store is None:
            return []
        old = self.clock() - YOUNG
        urls = [
            self.store.public_url(stored.key)
            for folder in ("avatars/", "thumbnails/")
            async for stored in self.store.list_keys(folder)
            if stored.modified_at < old
        ]
        async with self.transactions.begin() as session:
            known = await DeletionRepository(session).known(urls)
        return [url for url in urls if url not in known]


def own_key(store: ImageStorage, url: str) -> str | None:
    """The key of a picture of ours; None for any other URL, which is not ours to delete."""
    try:
        return store.key_of(url)
    except ValueError:
        return None


@contextmanager
def running(upkeep: MaintenanceService, *, every: float) -> Iterator[None]:
    """Do what is due every so many seconds, beside the requests, until the block ends."""
    scheduler = AsyncIOScheduler(timezone=UTC)
    trigger = IntervalTrigger(seconds=every, jitter=every / 4)  # so that workers spread out
    scheduler.add_job(upkeep.do_what_is_due, trigger, coalesce=True, max_instances=1)
    scheduler.start()
    try:
        yield
    finally:
        scheduler.shutdown(wait=False)
