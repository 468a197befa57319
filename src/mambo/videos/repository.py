"""Queries of uploads of videos and of Mux's events."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from mambo.adapters.mux_events import MuxEvent
from mambo.courses.models import Lesson, World
from mambo.database.repository import Repository
from mambo.deletions.models import DeletionKind, PendingDeletion
from mambo.videos.models import VideoUpload, WebhookEvent
from mambo.videos.rules import FINAL, LIVE


class VideoRepository(Repository[VideoUpload]):
    """Uploads of videos."""

    model_type = VideoUpload
    label = "upload"

    async def find(self, event: MuxEvent) -> Sequence[VideoUpload]:
        """Return the uploads that an event may be about: by our own id, then by Mux's upload, then by the asset."""
        ids = {
            VideoUpload.id: as_uuid(event.passthrough),
            VideoUpload.mux_upload_id: event.upload_id,
            VideoUpload.asset_id: event.asset_id,
        }
        matches = [column == value for column, value in ids.items() if value is not None]
        order = [sa.case((match.is_(True), 0), else_=1) for match in matches]
        return (await self.session.scalars(sa.select(VideoUpload).where(sa.or_(*matches)).order_by(*order))).all()

    async def lock(self, upload_id: UUID) -> VideoUpload | None:
        """Lock the upload until the transaction ends, and return it; its course is locked first, as everywhere."""
        course = (
            sa.select(World.id)
            .join(Lesson, Lesson.world_id == World.id)
            .join(VideoUpload, VideoUpload.lesson_id == Lesson.id)
            .where(VideoUpload.id == upload_id)
        )
        await self.session.execute(course.with_for_update(key_share=True, of=World))
        query = sa.select(VideoUpload).where(VideoUpload.id == upload_id).with_for_update()
        return await self.session.scalar(query, execution_options={"populate_existing": True})

    async def lock_own(self, mux_upload_id: str, user_id: UUID, boss_lesson_id: UUID) -> VideoUpload | None:
        """Lock a learner's own upload for a boss battle until the transaction ends, and return it."""
        query = sa.select(VideoUpload).where(
            VideoUpload.mux_upload_id == mux_upload_id,
            VideoUpload.created_by == user_id,
            VideoUpload.boss_lesson_id == boss_lesson_id,
        )
        return await self.session.scalar(query.with_for_update())

    async def get_newest(self, lesson_id: UUID) -> VideoUpload | None:
        query = sa.select(VideoUpload).where(VideoUpload.lesson_id == lesson_id).order_by(VideoUpload.id.desc())
        return await self.session.scalar(query.limit(1))

    async def remove_replaced(self, upload: VideoUpload) -> None:
        """Delete the uploads that a new one replaces: those without a ready video for the same lesson or boss battle.

        For a boss battle, these are the learner's own that were not submitted.
        """
        if upload.boss_lesson_id is not None:
            is_replaced = sa.and_(
                VideoUpload.boss_lesson_id == upload.boss_lesson_id,
                VideoUpload.created_by == upload.created_by,
                VideoUpload.unused_until.is_not(None),
            )
        elif upload.lesson_id is not None:
            is_replaced = VideoUpload.lesson_id == upload.lesson_id
        else:
            return
        await self.session.execute(sa.delete(VideoUpload).where(is_replaced, VideoUpload.status.not_in(FINAL)))

    async def remove_unused(self, now: datetime) -> None:
        """Delete learners' uploads that were not submitted in time, except one that is being submitted."""
        due = sa.select(VideoUpload.id).where(VideoUpload.unused_until <= now).with_for_update(skip_locked=True)
        await self.session.execute(sa.delete(VideoUpload).where(VideoUpload.id.in_(due.scalar_subquery())))

    async def get_unfinished(self, *, updated_before: datetime) -> Sequence[UUID]:
        """Return the ids of unfinished uploads that have not been updated since a moment; the oldest first."""
        query = sa.select(VideoUpload.id).where(VideoUpload.status.in_(LIVE), VideoUpload.updated_at <= updated_before)
        return (await self.session.scalars(query.order_by(VideoUpload.updated_at))).all()

    async def get_asset_ids(self) -> set[str]:
        """Return the ids of all assets of uploads and lessons, and of those that will be deleted."""
        known: list[sa.Select[Any]] = [
            sa.select(VideoUpload.asset_id),
            sa.select(Lesson.mux_asset_id),
            sa.select(PendingDeletion.name).where(PendingDeletion.kind == DeletionKind.ASSET),
        ]
        return {name for name in await self.session.scalars(sa.union(*known)) if name is not None}

    async def get_lesson_titles(self) -> dict[str, str]:
        """Return the title of each lesson that has a video, by the id of the asset."""
        query = sa.select(Lesson.mux_asset_id, Lesson.title).where(Lesson.mux_asset_id.is_not(None))
        return {str(asset_id): title for asset_id, title in await self.session.execute(query.order_by(Lesson.id))}


class WebhookEventRepository(Repository[WebhookEvent]):
    """Mux's events."""

    model_type = WebhookEvent

    async def lock_ids(self, mux_ids: Iterable[str | None]) -> None:
        """Lock Mux's ids of uploads and assets until the transaction ends.

        Without this, an event could miss the upload, or the other event, that is being stored at the same moment.
        """
        for mux_id in sorted({mux_id for mux_id in mux_ids if mux_id is not None}):
            await self.session.execute(sa.select(sa.func.pg_advisory_xact_lock(sa.func.hashtextextended(mux_id, 0))))

    async def add_once(self, event: MuxEvent, body: bytes, *, is_applied: bool, at: datetime) -> bool:
        """Store an event; return False if it is stored already."""
        # One statement, because the same event can arrive twice at the same moment.
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
        """Return the stored events of an upload or asset that have had no effect yet."""
        matches = sa.or_(WebhookEvent.upload_id == upload_id, WebhookEvent.asset_id == asset_id)
        query = sa.select(WebhookEvent).where(matches, WebhookEvent.is_applied.is_(False))
        return (await self.session.scalars(query)).all()

    async def mark_applied(self, event_ids: Iterable[str]) -> None:
        query = sa.update(WebhookEvent).where(WebhookEvent.id.in_(list(event_ids))).values(is_applied=True)
        await self.session.execute(query, execution_options={"synchronize_session": False})

    async def remove_before(self, moment: datetime) -> int:
        """Delete the events that were received before a moment; return their number."""
        query = sa.delete(WebhookEvent).where(WebhookEvent.received_at < moment).returning(WebhookEvent.id)
        return len((await self.session.scalars(query)).all())


def as_uuid(text: str | None) -> UUID | None:
    """Return the UUID; None if the text is not one."""
    try:
        return UUID(text or "")
    except ValueError:
        return None
