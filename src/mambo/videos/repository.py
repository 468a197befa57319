"""Questions about videos, Mux's events and pending deletions."""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from mambo.adapters.mux_events import MuxEvent
from mambo.courses.models import Lesson, World
from mambo.database.repository import Repository
from mambo.deletions.models import DeletionKind, PendingDeletion
from mambo.videos.models import FINAL, VideoUpload, WebhookEvent

ASK_AGAIN = timedelta(minutes=5)


class VideoRepository(Repository[VideoUpload]):
    """Videos on their way."""

    model_type = VideoUpload

    async def find(self, event: MuxEvent) -> Sequence[VideoUpload]:
        """The uploads an event may be about: by passthrough, which is our own id, then by upload, then by asset."""
        names = {
            VideoUpload.id: as_uuid(event.passthrough),
            VideoUpload.mux_upload_id: event.upload_id,
            VideoUpload.asset_id: event.asset_id,
        }
        fits = [column == name for column, name in names.items() if name is not None]
        order = [sa.case((fit.is_(True), 0), else_=1) for fit in fits]
        return (await self.session.scalars(sa.select(VideoUpload).where(sa.or_(*fits)).order_by(*order))).all()

    async def lock(self, upload_id: UUID) -> VideoUpload | None:
        """The upload, which nobody else changes until this transaction ends; its course is locked first, as always."""
        course = (
            sa.select(World.id)
            .join(Lesson, Lesson.world_id == World.id)
            .join(VideoUpload, VideoUpload.lesson_id == Lesson.id)
            .where(VideoUpload.id == upload_id)
        )
        await self.session.execute(course.with_for_update(key_share=True, of=World))
        query = sa.select(VideoUpload).where(VideoUpload.id == upload_id).with_for_update()
        return await self.session.scalar(query, execution_options={"populate_existing": True})

    async def get_newest(self, lesson_id: UUID) -> VideoUpload | None:
        query = sa.select(VideoUpload).where(VideoUpload.lesson_id == lesson_id).order_by(VideoUpload.id.desc())
        return await self.session.scalar(query.limit(1))

    async def remove_unfinished_before(self, upload: VideoUpload) -> None:
        """Give up what came to nothing, or has not come to anything yet, of the lesson or the learner's unused ones."""
        if upload.boss_lesson_id is not None:
            is_before = sa.and_(
                VideoUpload.boss_lesson_id == upload.boss_lesson_id,
                VideoUpload.created_by == upload.created_by,
                VideoUpload.unused_until.is_not(None),
            )
        else:
            is_before = VideoUpload.lesson_id == upload.lesson_id if upload.lesson_id is not None else sa.false()
        await self.session.execute(sa.delete(VideoUpload).where(is_before, VideoUpload.status.not_in(FINAL)))

    async def lock_own(self, mux_upload_id: str, user_id: UUID, boss_lesson_id: UUID) -> VideoUpload | None:
        """The learner's own upload for a boss battle, which nobody else changes until this transaction ends."""
        query = sa.select(VideoUpload).where(
            VideoUpload.mux_upload_id == mux_upload_id,
            VideoUpload.created_by == user_id,
            VideoUpload.boss_lesson_id == boss_lesson_id,
        )
        return await self.session.scalar(query.with_for_update())

    async def remove_unused(self, now: datetime, *, limit: int) -> None:
        """Give up learners' videos that nobody has submitted in time."""
        due = sa.select(VideoUpload.id).where(VideoUpload.unused_until <= now)
        due = due.order_by(VideoUpload.unused_until).limit(limit).with_for_update(skip_locked=True)
        await self.session.execute(sa.delete(VideoUpload).where(VideoUpload.id.in_(due.scalar_subquery())))

    async def hasten(self, now: datetime) -> int:
        """Have Mux asked about every unfinished upload now; returns how many there are."""
        query = sa.update(VideoUpload).where(VideoUpload.ask_at.is_not(None)).values(ask_at=now)
        return len((await self.session.scalars(query.returning(VideoUpload.id))).all())

    async def claim_to_ask(self, now: datetime, *, limit: int) -> Sequence[VideoUpload]:
        """Unfinished uploads that Mux should be asked about by now; nobody else asks for the next five minutes."""
        due = sa.select(VideoUpload.id).where(VideoUpload.ask_at <= now)
        due = due.order_by(VideoUpload.ask_at).limit(limit).with_for_update(skip_locked=True)
        query = (
            sa.update(VideoUpload)
            .where(VideoUpload.id.in_(due.scalar_subquery()))
            .values(ask_at=now + ASK_AGAIN)
            .returning(VideoUpload)
        )
        return (await self.session.scalars(query)).all()

    async def get_asset_ids(self) -> set[str]:
        """Every asset that an upload or a lesson of ours knows, or that is about to be deleted."""
        known: list[sa.Select[Any]] = [
            sa.select(VideoUpload.asset_id),
            sa.select(Lesson.mux_asset_id),
            sa.select(PendingDeletion.name).where(PendingDeletion.kind == DeletionKind.ASSET),
        ]
        return {name for name in await self.session.scalars(sa.union(*known)) if name is not None}

    async def get_lesson_titles(self) -> dict[str, str]:
        """The title of each lesson with a Mux video, by the asset's id."""
        query = sa.select(Lesson.mux_asset_id, Lesson.title).where(Lesson.mux_asset_id.is_not(None))
        return {str(asset_id): title for asset_id, title in await self.session.execute(query.order_by(Lesson.id))}


class WebhookEventRepository(Repository[WebhookEvent]):
    """Mux's events."""

    model_type = WebhookEvent

    async def lock_names(self, names: Iterable[str | None]) -> None:
        """Let nobody else receive events of the same uploads or assets until this transaction ends.

        Else an event could miss the upload, or another event, that says whose it is.
        """
        for name in sorted({name for name in names if name is not None}):
            await self.session.execute(sa.select(sa.func.pg_advisory_xact_lock(sa.func.hashtextextended(name, 0))))

    async def add_once(self, event: MuxEvent, body: bytes, *, is_applied: bool, at: datetime) -> bool:
        """Store an event; False when it was stored before."""
        query = (
            insert(WebhookEvent)
            .values(
                id=event.id,
                type=event.type,
                upload_id=event.upload_id,
                asset_id=event.asset_id,
                is_applied=is_applied,
                body=body,
                received_at=at,
            )
            .on_conflict_do_nothing()
            .returning(WebhookEvent.id)
        )
        return await self.session.scalar(query) is not None

    async def get_unapplied(self, upload_id: str | None, asset_id: str | None) -> Sequence[WebhookEvent]:
        """Stored events of a Mux upload or asset that have had no effect yet."""
        fits = sa.or_(WebhookEvent.upload_id == upload_id, WebhookEvent.asset_id == asset_id)
        return (
            await self.session.scalars(sa.select(WebhookEvent).where(fits, WebhookEvent.is_applied.is_(False)))
        ).all()

    async def mark_applied(self, event_ids: Iterable[str]) -> None:
        query = sa.update(WebhookEvent).where(WebhookEvent.id.in_(list(event_ids))).values(is_applied=True)
        await self.session.execute(query, execution_options={"synchronize_session": False})

    async def forget_before(self, moment: datetime) -> int:
        """Delete events received before; returns how many."""
        query = sa.delete(WebhookEvent).where(WebhookEvent.received_at < moment).returning(WebhookEvent.id)
        return len((await self.session.scalars(query)).all())


def as_uuid(text: str | None) -> UUID | None:
    try:
        return UUID(text or "")
    except ValueError:
        return None
