"""Uploads of videos to Mux, and the updates that Mux reports about them."""

from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from uuid import UUID

from litestar.di import NamedDependency
from msgspec import structs
from sqlalchemy.ext.asyncio import AsyncSession
from uuid_utils.compat import uuid7

from mambo.adapters.mux_events import MuxEvent, parse_event
from mambo.adapters.video import VideoHost
from mambo.courses.repository import LessonRepository
from mambo.database.session import Transactions
from mambo.deletions.models import DeletionKind
from mambo.deletions.repository import DeletionRepository
from mambo.errors import MamboError, Unavailable
from mambo.videos.models import VideoUpload
from mambo.videos.repository import VideoRepository, WebhookEventRepository
from mambo.videos.rules import (
    LIVE,
    VideoStatus,
    VideoUpdate,
    is_same_video,
    is_too_long,
    merge,
    reject_as_too_long,
    state_of_lesson,
    update_from_asset,
    update_from_event,
    update_from_upload,
)
from mambo.videos.schemas import AssetDeletion, AssetExistence, StartedUpload, VideoRequest, VideoState
from mambo.web.schemas import as_struct

UPLOAD_LIFETIME = timedelta(hours=1)
UNUSED_LIFETIME = timedelta(hours=24)  # of a learner's video that is not submitted, after the upload's own


class VideoUpdater:
    """Applies updates to uploads, with their effect on lessons and deletions, in one transaction."""

    def __init__(
        self,
        videos: VideoRepository,
        events: WebhookEventRepository,
        lessons: LessonRepository,
        deletions: DeletionRepository,
        now: datetime,
    ) -> None:
        self.videos, self.events, self.lessons, self.deletions, self.now = videos, events, lessons, deletions, now

    async def apply(self, upload_id: UUID, update: VideoUpdate) -> bool:
        """Apply an update; return False if the upload no longer exists, or the update is about another video."""
        upload = await self.videos.lock(upload_id)
        if upload is None:
            return False
        before = as_struct(upload, VideoUpdate)
        if not is_same_video(before, update):
            return False
        after = merge(before, update)
        if after.asset_id != before.asset_id:
            after = await self.apply_earlier_events(after)
        is_rejected = upload.boss_lesson_id is not None and is_too_long(after)
        if is_rejected:
            after = reject_as_too_long(after)
        if after != before:
            await self.videos.change(upload_id, structs.asdict(after) | {"updated_at": self.now})
            if is_rejected and after.asset_id is not None:
                await self.deletions.schedule(DeletionKind.ASSET, after.asset_id)
            if upload.lesson_id is not None and VideoStatus.READY is after.status is not before.status:
                await self.lessons.set_video(
                    upload.lesson_id, after.playback_id, after.asset_id, after.duration_seconds
                )
        return True

    async def apply_earlier_events(self, known: VideoUpdate) -> VideoUpdate:
        """Return the state after the stored events of an upload or asset whose id has just become known."""
        applied: list[str] = []
        for stored in await self.events.get_unapplied(known.mux_upload_id, known.asset_id):
            update = update_from_event(parse_event(stored.body))
            if update is not None and is_same_video(known, update):
                known = merge(known, update)
                applied.append(stored.id)
        await self.events.mark_applied(applied)
        return known

    async def remove_asset(self, asset_id: str) -> None:
        """Set the upload of an asset to deleted, and remove the video from its lessons."""
        upload = await self.videos.get_one_or_none(asset_id=asset_id)
        if upload is not None:
            await self.apply(upload.id, VideoUpdate(VideoStatus.DELETED, asset_id=asset_id))
        await self.lessons.clear_video(asset_id)


class WebhookService:
    """Receives Mux's events. Each is stored, and takes effect once, in one transaction."""

    def __init__(self, updater: VideoUpdater) -> None:
        self.updater = updater

    async def receive(self, event: MuxEvent, body: bytes) -> None:
        """Store an event and apply it; an event that is stored already changes nothing.

        An event whose upload is not known yet is applied when the upload becomes known.
        """
        updater, update = self.updater, update_from_event(event)
        await updater.events.lock_ids([event.upload_id, event.asset_id])
        is_new = await updater.events.add_once(event, body, is_applied=update is None, at=updater.now)
        if not is_new or update is None:
            return
        if update.status is VideoStatus.DELETED and update.asset_id is not None:
            await updater.remove_asset(update.asset_id)
        for upload in await updater.videos.find(event):
            if await updater.apply(upload.id, update):
                await updater.events.mark_applied([event.id])
                return


class VideoService:
    """Videos at Mux. Mux is called between transactions, so that no connection is held while it responds."""

    def __init__(self, transactions: Transactions, host: VideoHost, now: datetime) -> None:
        self.transactions, self.host, self.now = transactions, host, now

    async def start_upload(self, data: VideoRequest, user_id: UUID, cors_origin: str) -> StartedUpload:
        """Start the upload of a lesson's video, or of a video for no lesson yet.

        Raises:
            NotFound: there is no such lesson.
            DependencyFailed, DependencyTimedOut, Unavailable: Mux failed; nothing has changed.

        """

        async def check(session: AsyncSession) -> None:
            if data.lesson_id is not None:
                await LessonRepository(session).lock_course(data.lesson_id)

        upload = VideoUpload(lesson_id=data.lesson_id, created_by=user_id, filename=data.filename)
        return await self.begin(upload, cors_origin, check)

    async def begin(
        self, upload: VideoUpload, cors_origin: str, check: Callable[[AsyncSession], Awaitable[None]]
    ) -> StartedUpload:
        """Start an upload. It replaces an unfinished one for the same lesson; a ready video is replaced by its video.

        `check` raises an error if the upload may not be started. It is called before Mux and once more after, and
        locks what serialises concurrent uploads. The upload is stored after Mux has created it; if that fails, nobody
        knows the URL, and Mux lets the upload expire.

        Raises:
            DependencyFailed, DependencyTimedOut, Unavailable: Mux failed; nothing has changed.

        """
        async with self.transactions.begin() as session:
            await check(session)
        upload.id = uuid7()
        direct = await self.host.create_upload(str(upload.id), cors_origin, int(UPLOAD_LIFETIME.total_seconds()))
        upload.mux_upload_id, upload.updated_at = direct.id, self.now
        upload.expires_at = self.now + UPLOAD_LIFETIME
        if upload.boss_lesson_id is not None:
            upload.unused_until = upload.expires_at + UNUSED_LIFETIME
        async with self.transactions.begin() as session:
            updater = updater_in(session, self.now)
            await updater.events.lock_ids([direct.id])
            await check(session)
            await updater.videos.remove_replaced(upload)
            await updater.videos.add(upload)
            await updater.apply(upload.id, await updater.apply_earlier_events(as_struct(upload, VideoUpdate)))
        return StartedUpload(upload_id=direct.id, upload_url=direct.url)

    async def check(self, lesson_id: UUID) -> VideoState:
        """Return the state of the lesson's newest video, after asking Mux about an unfinished one.

        Raises:
            NotFound: there is no such lesson.
            DependencyFailed, DependencyTimedOut, Unavailable: Mux failed.

        """
        async with self.transactions.begin() as session:
            upload = await VideoRepository(session).get_newest(lesson_id)
        if upload is not None and upload.status in LIVE:
            await self.refresh(upload)
        async with self.transactions.begin() as session:
            lesson = await LessonRepository(session).get_required(id=lesson_id)
            upload = await VideoRepository(session).get_newest(lesson_id)
            newest = as_struct(upload, VideoUpdate) if upload else None
            return state_of_lesson(newest, lesson.mux_playback_id, lesson.mux_asset_id)

    async def refresh(self, upload: VideoUpload) -> None:
        """Ask Mux for the state of an unfinished upload, and apply it.

        Raises:
            DependencyFailed, DependencyTimedOut, Unavailable: Mux failed.

        """
        update = await self._get_update(upload)
        if update.status is VideoStatus.WAITING and self.now > upload.expires_at:
            update = VideoUpdate(VideoStatus.TIMED_OUT, upload.mux_upload_id)
        async with self.transactions.begin() as session:
            await updater_in(session, self.now).apply(upload.id, update)

    async def _get_update(self, upload: VideoUpload) -> VideoUpdate:
        mux_upload_id, asset_id = upload.mux_upload_id, upload.asset_id
        if asset_id is None and (state := await self.host.get_upload(mux_upload_id)):
            if state.asset_id is None:
                return update_from_upload(state)
            asset_id = state.asset_id
        if asset_id is None:  # Mux may have deleted the upload, and still have its asset
            asset = await self.host.find_asset(mux_upload_id)
            missing = VideoUpdate(VideoStatus.WAITING, mux_upload_id)
        else:
            asset = await self.host.get_asset(asset_id)
            missing = VideoUpdate(VideoStatus.ERRORED, mux_upload_id, asset_id, error="Mux does not have this video.")
        return update_from_asset(asset, mux_upload_id) if asset else missing

    async def asset_exists(self, asset_id: str) -> AssetExistence:
        """Return whether Mux has an asset.

        Raises:
            DependencyFailed, DependencyTimedOut, Unavailable: Mux failed.

        """
        return AssetExistence(exists=await self.host.get_asset(asset_id) is not None, asset_id=asset_id)

    async def delete_asset(self, asset_id: str) -> AssetDeletion:
        """Remove an asset from its lessons and delete it at Mux, or later if Mux fails."""
        async with self.transactions.begin() as session:
            updater = updater_in(session, self.now)
            await updater.remove_asset(asset_id)
            await updater.deletions.schedule(DeletionKind.ASSET, asset_id)
        try:
            await self.host.delete_asset(asset_id)
        except MamboError as error:
            return AssetDeletion(status="pending", message=f"{error.detail} The video will be deleted at Mux later.")
        async with self.transactions.begin() as session:
            await DeletionRepository(session).finish(DeletionKind.ASSET, asset_id)
        return AssetDeletion(status="deleted", message="The video is deleted.")


def updater_in(session: AsyncSession, now: datetime) -> VideoUpdater:
    """Return an updater whose repositories work in the session's transaction."""
    return VideoUpdater(
        VideoRepository(session),
        WebhookEventRepository(session),
        LessonRepository(session),
        DeletionRepository(session),
        now,
    )


def provide_webhook_service(session: NamedDependency[AsyncSession], now: NamedDependency[datetime]) -> WebhookService:
    return WebhookService(updater_in(session, now))


def provide_video_service(
    transactions: NamedDependency[Transactions],
    video_host: NamedDependency[VideoHost | None],
    now: NamedDependency[datetime],
) -> VideoService:
    """Return the service.

    Raises:
        Unavailable: Mux is not configured.

    """
    if video_host is None:
        raise Unavailable(
            "Video is not configured: set MUX_TOKEN_ID, MUX_TOKEN_SECRET and MUX_WEBHOOK_SECRET.", code="not_configured"
        )
    return VideoService(transactions, video_host, now)
