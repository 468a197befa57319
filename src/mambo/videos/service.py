"""Videos on their way to Mux, and what Mux tells of them."""

from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from uuid import UUID

from litestar.di import NamedDependency
from sqlalchemy.ext.asyncio import AsyncSession
from uuid_utils.compat import uuid7

from mambo.adapters.mux_events import MuxEvent, read_event
from mambo.adapters.video import VideoHost
from mambo.courses.models import Lesson
from mambo.courses.repository import LessonRepository
from mambo.database.session import Transactions
from mambo.deletions.models import DeletionKind
from mambo.deletions.repository import DeletionRepository
from mambo.errors import MamboError, NotFound, Unavailable
from mambo.videos.models import LIVE, VideoStatus, VideoUpload
from mambo.videos.repository import VideoRepository, WebhookEventRepository
from mambo.videos.rules import (
    STATUS_AT_MUX,
    VideoUpdate,
    concerns,
    is_too_long,
    merged,
    refused,
    state_of,
    update_from_asset,
    update_from_event,
)
from mambo.videos.schemas import AssetDeletion, StartedUpload, VideoRequest, VideoState

UPLOAD_LIFETIME = timedelta(hours=1)
UNUSED_LIFETIME = timedelta(hours=24)  # of a learner's video that nobody submits, from then on
FIRST_QUESTION = timedelta(minutes=2)  # Mux's events are here long before, as a rule


class VideoService:
    """Videos at Mux; Mux is called between transactions, never within one."""

    def __init__(self, transactions: Transactions, host: VideoHost, now: datetime) -> None:
        self.transactions, self.host, self.now = transactions, host, now

    async def start_upload(self, data: VideoRequest, user_id: UUID, cors_origin: str) -> StartedUpload:
        """Begin an upload of a lesson's video, or of one for no lesson yet.

        Raises:
            NotFound: there is no such lesson.
            DependencyFailed, DependencyTimedOut, Unavailable: Mux did not take it; everything is as before.

        """

        async def require(session: AsyncSession) -> None:
            if data.lesson_id is not None:
                await LessonRepository(session).lock_course(data.lesson_id)
                await require_lesson(session, data.lesson_id)

        upload = VideoUpload(lesson_id=data.lesson_id, created_by=user_id, filename=data.filename)
        return await self.begin(upload, cors_origin, require)

    async def begin(
        self, upload: VideoUpload, cors_origin: str, require: Callable[[AsyncSession], Awaitable[None]]
    ) -> StartedUpload:
        """Begin an upload; an earlier one for the same, if it is unfinished, is given up, while its video plays on.

        `require` says whether it may be begun, before Mux is asked and again afterwards; it locks what two at once wait
        for. The upload is stored once Mux has taken it: should that be lost, then so is an address that nobody knows.

        Raises:
            DependencyFailed, DependencyTimedOut, Unavailable: Mux did not take it; everything is as before.

        """
        async with self.transactions.begin() as session:
            await require(session)
        upload.id = uuid7()
        direct = await self.host.create_upload(str(upload.id), cors_origin, int(UPLOAD_LIFETIME.total_seconds()))
        upload.mux_upload_id, upload.updated_at = direct.id, self.now
        upload.expires_at, upload.ask_at = self.now + UPLOAD_LIFETIME, self.now + FIRST_QUESTION
        if upload.boss_lesson_id is not None:
            upload.unused_until = upload.expires_at + UNUSED_LIFETIME
        async with self.transactions.begin() as session:
            await WebhookEventRepository(session).lock_names([direct.id])
            await require(session)
            await VideoRepository(session).remove_unfinished_before(upload)
            session.add(upload)
            await session.flush()
            await learn(session, upload.id, await with_earlier_events(session, known_of(upload)), self.now)
        return StartedUpload(upload_id=direct.id, upload_url=direct.url)

    async def check(self, lesson_id: UUID) -> VideoState:
        """How the lesson's newest video stands, after asking Mux where that is not settled yet.

        Raises:
            NotFound: there is no such lesson.
            DependencyFailed, DependencyTimedOut, Unavailable: Mux does not say.

        """
        async with self.transactions.begin() as session:
            upload = await VideoRepository(session).get_newest(lesson_id)
        if upload is not None and upload.status in LIVE:
            await self.ask(upload)
        async with self.transactions.begin() as session:
            lesson = await require_lesson(session, lesson_id)
            return state_of(await VideoRepository(session).get_newest(lesson_id), lesson)

    async def ask(self, upload: VideoUpload) -> None:
        """Ask Mux how an unfinished upload stands, and store what it says."""
        news = await self._news_of(upload)
        if news.status is VideoStatus.WAITING and self.now > upload.expires_at:
            news = VideoUpdate(VideoStatus.TIMED_OUT, upload.mux_upload_id)
        async with self.transactions.begin() as session:
            await learn(session, upload.id, news, self.now)

    async def _news_of(self, upload: VideoUpload) -> VideoUpdate:
        asset_id = upload.asset_id
        if asset_id is None and (state := await self.host.get_upload(upload.mux_upload_id)):
            if state.asset_id is None:
                return VideoUpdate(STATUS_AT_MUX[state.status], upload.mux_upload_id, error=state.error)
            asset_id = state.asset_id
        if asset_id is None:  # an upload that Mux has forgotten may have left its asset
            asset = await self.host.find_asset(upload.mux_upload_id)
            return (
                update_from_asset(asset, upload.mux_upload_id)
                if asset
                else VideoUpdate(VideoStatus.WAITING, upload.mux_upload_id)
            )
        asset = await self.host.get_asset(asset_id)
        if asset is None:
            return VideoUpdate(
                VideoStatus.ERRORED, upload.mux_upload_id, asset_id, error="Mux does not have this video."
            )
        return update_from_asset(asset, upload.mux_upload_id)

    async def delete_asset(self, asset_id: str) -> AssetDeletion:
        """Take an asset off its lesson and delete it at Mux, now or as soon as Mux lets us."""
        async with self.transactions.begin() as session:
            await forget_asset(session, asset_id, self.now)
            await DeletionRepository(session).note(DeletionKind.ASSET, asset_id)
        try:
            await self.host.delete_asset(asset_id)
        except MamboError as error:
            return AssetDeletion(status="pending", message=f"{error.detail} The video will be deleted at Mux later.")
        async with self.transactions.begin() as session:
            await DeletionRepository(session).remove_pending(DeletionKind.ASSET, asset_id)
        return AssetDeletion(status="deleted", message="The video is deleted.")


class WebhookService:
    """Mux's events: each is stored and takes effect once, in one transaction."""

    def __init__(self, session: AsyncSession, now: datetime) -> None:
        self.session, self.now = session, now
        self.events = WebhookEventRepository(session)
        self.videos = VideoRepository(session)

    async def receive(self, event: MuxEvent, body: bytes) -> None:
        """Store an event with its effect; one that came before changes nothing, whatever it is about.

        What fits no upload yet waits in the inbox until an upload turns out to be the one.
        """
        news = update_from_event(event)
        await self.events.lock_names([event.upload_id, event.asset_id])
        if not await self.events.add_once(event, body, is_applied=news is None, at=self.now) or news is None:
            return
        if news.status is VideoStatus.DELETED and news.asset_id is not None:
            await forget_asset(self.session, news.asset_id, self.now)
        for upload in await self.videos.find(event):
            if await learn(self.session, upload.id, news, self.now):
                await self.events.mark_applied([event.id])
                return


async def learn(session: AsyncSession, upload_id: UUID, news: VideoUpdate, now: datetime) -> bool:
    """Add news to what is known of an upload, with what follows for its lesson.

    False when the upload is gone, or the news are of another one.
    """
    upload = await VideoRepository(session).lock(upload_id)
    if upload is None:
        return False
    known = known_of(upload)
    if not concerns(known, news):
        return False
    told = merged(known, news)
    if told.asset_id != known.asset_id:
        told = await with_earlier_events(session, told)
    is_refused = upload.boss_lesson_id is not None and is_too_long(told)
    told = refused(told) if is_refused else told
    if told == known:
        return True
    for name in VideoUpdate.__struct_fields__:
        setattr(upload, name, getattr(told, name))
    upload.updated_at = now
    upload.ask_at = upload.ask_at if told.status in LIVE else None
    await session.flush()
    if is_refused and told.asset_id is not None:
        await DeletionRepository(session).note(DeletionKind.ASSET, told.asset_id)
    is_news = told.status is VideoStatus.READY and known.status is not VideoStatus.READY
    if is_news and upload.lesson_id is not None:
        await LessonRepository(session).set_video(
            upload.lesson_id, told.playback_id, told.asset_id, told.duration_seconds
        )
    return True


async def with_earlier_events(session: AsyncSession, told: VideoUpdate) -> VideoUpdate:
    """Add the stored events that had waited for the upload or asset that has just become known."""
    inbox = WebhookEventRepository(session)
    applied: list[str] = []
    for stored in await inbox.get_unapplied(told.mux_upload_id, told.asset_id):
        news = update_from_event(read_event(stored.body))
        if news is not None and concerns(told, news):
            told = merged(told, news)
            applied.append(stored.id)
    await inbox.mark_applied(applied)
    return told


async def forget_asset(session: AsyncSession, asset_id: str, now: datetime) -> None:
    """The asset is no more, or soon will be: its upload is at its end, and no lesson plays it."""
    upload = await VideoRepository(session).get_one_or_none(asset_id=asset_id)
    if upload is not None:
        await learn(session, upload.id, VideoUpdate(VideoStatus.DELETED, asset_id=asset_id), now)
    await LessonRepository(session).clear_video(asset_id)


async def require_lesson(session: AsyncSession, lesson_id: UUID) -> Lesson:
    """The lesson.

    Raises:
        NotFound: it does not exist.

    """
    lesson = await LessonRepository(session).get_one_or_none(id=lesson_id)
    if lesson is None:
        raise NotFound("lesson")
    return lesson


def known_of(upload: VideoUpload) -> VideoUpdate:
    return VideoUpdate(**{name: getattr(upload, name) for name in VideoUpdate.__struct_fields__})


async def provide_video_service(
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


async def provide_webhook_service(
    session: NamedDependency[AsyncSession], now: NamedDependency[datetime]
) -> WebhookService:
    return WebhookService(session, now)
