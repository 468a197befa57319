"""Queries of pending deletions."""

from collections.abc import Iterable
from datetime import timedelta

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from mambo.courses.models import Lesson, World
from mambo.database.repository import Repository
from mambo.deletions.models import DeletionKind, PendingDeletion
from mambo.users.models import UserProfile

LOCK = timedelta(minutes=2)  # longer than a deletion takes
QUEUE_AGAIN = timedelta(hours=12)  # in case a job is lost; longer than the delay before its last retry
IS_LOCKED = sa.func.coalesce(PendingDeletion.locked_until > sa.func.now(), sa.false())
IS_QUEUED = sa.func.coalesce(PendingDeletion.queued_at > sa.func.now() - QUEUE_AGAIN, sa.false())


class DeletionRepository(Repository[PendingDeletion]):
    """Objects to delete at R2 and Mux."""

    model_type = PendingDeletion

    async def schedule(self, kind: DeletionKind, name: str, *, after: timedelta = timedelta()) -> None:
        """Schedule the deletion of an object; does nothing if it is scheduled already."""
        query = insert(PendingDeletion).values(kind=kind, name=name, due_at=sa.func.now() + after)
        await self.session.execute(query.on_conflict_do_nothing())

    async def queue_due(self, kinds: Iterable[DeletionKind], *, limit: int) -> list[tuple[DeletionKind, str]]:
        """Return objects that are due and not queued, and mark them as queued."""
        key = (PendingDeletion.kind, PendingDeletion.name)
        due = (
            sa.select(*key)
            .where(PendingDeletion.kind.in_(kinds), PendingDeletion.due_at <= sa.func.now(), ~IS_QUEUED)
            .order_by(PendingDeletion.due_at)
            .limit(limit)
            .with_for_update(skip_locked=True)
        )
        query = sa.update(PendingDeletion).where(sa.tuple_(*key).in_(due)).values(queued_at=sa.func.now())
        return [(kind, name) for kind, name in await self.session.execute(query.returning(*key))]

    async def get_due(self, kinds: Iterable[DeletionKind]) -> list[tuple[DeletionKind, str]]:
        """Return all objects that are due, queued ones too, and that no row names; the oldest first."""
        query = (
            sa.select(PendingDeletion.kind, PendingDeletion.name)
            .where(PendingDeletion.kind.in_(kinds), PendingDeletion.due_at <= sa.func.now(), ~IS_LOCKED)
            .order_by(PendingDeletion.due_at)
        )
        due = [(kind, name) for kind, name in await self.session.execute(query)]
        named = await self._find_named([name for _, name in due])
        return [(kind, name) for kind, name in due if name not in named]

    async def lock(self, kind: DeletionKind, name: str) -> bool:
        """Let no row name an object for two minutes, in which it is deleted; then it is due again.

        Return False if it must not be deleted now: because a row names it, in which case it is no longer scheduled; or
        because it is locked.

        The row here is locked first, and then the names are looked for. A trigger changes the row here whenever another
        row begins to name the object. So that either waits for this transaction and fails, or has happened before it.
        """
        query = sa.select(PendingDeletion, IS_LOCKED).where(PendingDeletion.kind == kind, PendingDeletion.name == name)
        row = (await self.session.execute(query.with_for_update())).one_or_none()
        if row is None or row[1]:
            return False
        deletion = row[0]
        if await self._find_named([name]):
            await self.session.delete(deletion)
            return False
        deletion.queued_at = None
        deletion.due_at = deletion.locked_until = sa.func.now() + LOCK
        return True

    async def unlock(self, kind: DeletionKind, name: str) -> None:
        """Let rows name an object again, because its deletion failed; it is due now."""
        query = sa.update(PendingDeletion).where(PendingDeletion.kind == kind, PendingDeletion.name == name)
        await self.session.execute(query.values(locked_until=None, queued_at=None, due_at=sa.func.now()))

    async def finish(self, kind: DeletionKind, name: str) -> None:
        """Remove an object from the schedule, because it is deleted."""
        query = sa.delete(PendingDeletion).where(PendingDeletion.kind == kind, PendingDeletion.name == name)
        await self.session.execute(query)

    async def find_known(self, urls: list[str]) -> set[str]:
        """Return those of the URLs that a row names, or whose deletion is scheduled."""
        pending = sa.select(PendingDeletion.name).where(PendingDeletion.name.in_(urls))
        return await self._find_named(urls) | set(await self.session.scalars(pending))

    async def _find_named(self, names: list[str]) -> set[str]:
        """Return those of the names that a lesson, course or profile contains, in a field or within a text."""
        name = sa.func.unnest(sa.cast(names, sa.ARRAY(sa.Text))).column_valued("name")
        course_text = sa.func.concat_ws(" ", World.image_url, World.thumbnail_url, World.description)
        lesson_text = sa.func.concat_ws(" ", Lesson.thumbnail_url, Lesson.description, Lesson.content_json)
        is_named = sa.or_(
            sa.exists().where(UserProfile.avatar_url == name),
            sa.exists().where(Lesson.mux_asset_id == name),
            sa.exists().where(sa.func.strpos(course_text, name) > 0),
            sa.exists().where(sa.func.strpos(lesson_text, name) > 0),
        )
        return set(await self.session.scalars(sa.select(name).where(is_named))) if names else set()
