"""The background work, and what `mambo media reconcile` compares."""

from collections.abc import Sequence
from datetime import timedelta

from mambo.adapters.storage import ImageStorage
from mambo.adapters.video import UploadStatus, VideoHost
from mambo.auth.repository import SessionRepository
from mambo.clock import Clock
from mambo.database.session import Transactions
from mambo.deletions.models import DeletionKind
from mambo.deletions.repository import DeletionRepository
from mambo.errors import MamboError, Unavailable
from mambo.jobs import enqueue, prune_log
from mambo.maintenance.schemas import CheckUpload, DeleteObject
from mambo.videos.repository import VideoRepository, WebhookEventRepository
from mambo.videos.rules import LIVE
from mambo.videos.service import VideoService

BATCH = 100
SILENCE = timedelta(minutes=2)  # events usually arrive within seconds
EVENTS_KEPT = timedelta(days=30)
LOG_KEPT = timedelta(days=7)
MIN_AGE = timedelta(hours=24)  # an image that was just uploaded may not be set yet


class MaintenanceService:
    """The background work. Work that needs Mux or the image storage is left undone where they are not configured.

    It opens its own transactions, because R2 and Mux are called between them.
    """

    def __init__(
        self, transactions: Transactions, host: VideoHost | None, storage: ImageStorage | None, clock: Clock
    ) -> None:
        self.transactions, self.host, self.storage, self.clock = transactions, host, storage, clock
        self.kinds: list[DeletionKind] = []
        if storage is not None:
            self.kinds += [DeletionKind.IMAGE]
        if host is not None:
            self.kinds += [DeletionKind.ASSET, DeletionKind.UPLOAD]

    async def queue_checks(self) -> None:
        """Queue a job for each unfinished upload that has not been updated for two minutes."""
        if self.host is None:
            return
        async with self.transactions.begin() as session:
            for upload_id in await VideoRepository(session).get_unfinished(updated_before=self.clock() - SILENCE):
                await enqueue(session, CheckUpload(upload_id), key=str(upload_id))

    async def get_checks(self) -> Sequence[CheckUpload]:
        """Return a job for each unfinished upload, whether it is queued or not."""
        if self.host is None:
            return []
        async with self.transactions.begin() as session:
            unfinished = await VideoRepository(session).get_unfinished(updated_before=self.clock())
        return [CheckUpload(upload_id) for upload_id in unfinished]

    async def check_upload(self, job: CheckUpload) -> None:
        """Ask Mux for the state of an upload, if it is still unfinished.

        Raises:
            DependencyFailed, DependencyTimedOut, Unavailable: Mux failed.

        """
        async with self.transactions.begin() as session:
            upload = await VideoRepository(session).get_one_or_none(id=job.upload_id)
        if self.host is not None and upload is not None and upload.status in LIVE:
            await VideoService(self.transactions, self.host, self.clock()).refresh(upload)

    async def queue_deletions(self) -> None:
        """Queue a job for each object to delete."""
        await self.remove_unused_uploads()
        async with self.transactions.begin() as session:
            for kind, name in await DeletionRepository(session).queue_due(self.kinds, limit=BATCH):
                await enqueue(session, DeleteObject(kind, name), key=f"{kind}:{name}")

    async def remove_unused_uploads(self) -> None:
        """Remove learners' uploads that were not submitted in time; their videos are due for deletion then."""
        async with self.transactions.begin() as session:
            await VideoRepository(session).remove_unused(self.clock())

    async def get_deletions(self) -> Sequence[DeleteObject]:
        """Return a job for each object to delete, whether it is queued or not."""
        async with self.transactions.begin() as session:
            return [DeleteObject(kind, name) for kind, name in await DeletionRepository(session).get_due(self.kinds)]

    async def delete_object(self, job: DeleteObject) -> None:
        """Delete an object, unless a row names it.

        Raises:
            DependencyFailed, DependencyTimedOut, Unavailable: R2 or Mux failed; the deletion stays due.

        """
        if job.kind not in self.kinds:
            return
        async with self.transactions.begin() as session:
            if not await DeletionRepository(session).lock(job.kind, job.name):
                return
        try:
            is_gone = await self._delete(job.kind, job.name)
        except MamboError:
            async with self.transactions.begin() as session:
                await DeletionRepository(session).unlock(job.kind, job.name)
            raise
        if is_gone:
            async with self.transactions.begin() as session:
                await DeletionRepository(session).finish(job.kind, job.name)

    async def _delete(self, kind: DeletionKind, name: str) -> bool:
        """Delete an object at its vendor; return False if it must be looked for again when its lock ends."""
        if kind is DeletionKind.IMAGE and self.storage is not None:
            return await delete_image(self.storage, name)
        if kind is DeletionKind.ASSET and self.host is not None:
            await self.host.delete_asset(name)
        if kind is DeletionKind.UPLOAD and self.host is not None and not await self.host.cancel_upload(name):
            await self._delete_asset_of(self.host, name)
        return True

    async def _delete_asset_of(self, host: VideoHost, mux_upload_id: str) -> None:
        """Schedule the deletion of the asset that was created from an upload."""
        upload = await host.get_upload(mux_upload_id)
        if upload is not None and upload.status is UploadStatus.WAITING:
            raise Unavailable("Mux did not cancel the upload.")
        if upload is not None and upload.asset_id is not None:
            async with self.transactions.begin() as session:
                await DeletionRepository(session).schedule(DeletionKind.ASSET, upload.asset_id)

    async def remove_old_rows(self) -> None:
        """Remove events of Mux that are older than 30 days, sessions that are over, and the log of old jobs."""
        await self.remove_old_events()
        await self.remove_old_sessions()
        async with self.transactions.begin() as session:
            await prune_log(session, kept=LOG_KEPT)

    async def remove_old_events(self) -> int:
        """Remove events of Mux that are older than 30 days; return their number."""
        async with self.transactions.begin() as session:
            return await WebhookEventRepository(session).remove_before(self.clock() - EVENTS_KEPT)

    async def remove_old_sessions(self) -> int:
        """Remove sessions that are over, with their refresh tokens; return their number."""
        async with self.transactions.begin() as session:
            return await SessionRepository(session).delete_expired(self.clock())

    async def compare_assets(self) -> tuple[list[str], list[str]]:
        """Return the assets at Mux that no row here names, and the lessons whose asset Mux does not have."""
        if self.host is None:
            return [], []
        at_mux = {asset.id async for asset in self.host.list_assets()}
        async with self.transactions.begin() as session:
            known = await VideoRepository(session).get_asset_ids()
            titles = await VideoRepository(session).get_lesson_titles()
        orphans = sorted(at_mux - known)
        return orphans, [f"{title} ({asset_id})" for asset_id, title in titles.items() if asset_id not in at_mux]

    async def find_orphaned_images(self) -> list[str]:
        """Return the URLs of stored images older than a day that no row names, and whose deletion is not scheduled."""
        if self.storage is None:
            return []
        newest = self.clock() - MIN_AGE
        urls = [
            self.storage.public_url(stored.key)
            for folder in ("avatars/", "thumbnails/")
            async for stored in self.storage.list_keys(folder)
            if stored.modified_at < newest
        ]
        async with self.transactions.begin() as session:
            known = await DeletionRepository(session).find_known(urls)
        return [url for url in urls if url not in known]


async def delete_image(storage: ImageStorage, url: str) -> bool:
    """Delete an image; return True if it did not exist any more, or is not in our storage.

    A deleted image must be looked for again: its presigned URL may still be used, and a request may have checked it
    just before it was deleted.
    """
    try:
        key = storage.key_of(url)
    except ValueError:
        key = None
    if key is None or await storage.inspect(key) is None:
        return True
    await storage.delete(key)
    return False
