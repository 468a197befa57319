"""Queries about pending deletions."""

from collections.abc import Sequence
from datetime import timedelta

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from mambo.courses.models import Lesson, World
from mambo.database.repository import Repository
from mambo.deletions.models import DeletionKind, PendingDeletion
from mambo.users.models import UserProfile

LEASE = timedelta(minutes=2)  # a batch of deletions is over long before
FIRST_RETRY, LAST_RETRY = timedelta(seconds=30), timedelta(hours=6)
IS_DUE = (
    PendingDeletion.due_at <= sa.func.now(),
    sa.func.coalesce(PendingDeletion.leased_until < sa.func.now(), sa.true()),
)


class DeletionRepository(Repository[PendingDeletion]):
    """What is to be deleted at R2 and Mux."""

    model_type = PendingDeletion

    async def note(self, kind: DeletionKind, name: str, *, after: timedelta = timedelta()) -> None:
        """Have something looked at after a while, and deleted if no row names it then."""
        await self.session.execute(
            insert(PendingDeletion).values(kind=kind, name=name, due_at=sa.func.now() + after).on_conflict_do_nothing()
        )

    async def claim(self, kinds: Sequence[DeletionKind], *, limit: int) -> list[PendingDeletion]:
        """Due deletions, which nobody else carries out for two minutes; what a row still names is let off.

        The rows are locked before the names are looked for, and setting a name touches its row here: so no name can
        come into use between the look and the deletion.
        """
        due = (
            sa.select(PendingDeletion)
            .where(PendingDeletion.kind.in_(kinds), *IS_DUE)
            .order_by(PendingDeletion.due_at)
            .limit(limit)
            .with_for_update(skip_locked=True)
        )
        found = (await self.session.scalars(due)).all()
        named = await self._named([deletion.name for deletion in found])
        claimed = []
        for deletion in found:
            if deletion.name in named:
                await self.session.delete(deletion)
            else:
                deletion.leased_until = sa.func.now() + LEASE
                deletion.attempts += 1
                claimed.append(deletion)
        return claimed

    async def _named(self, names: list[str]) -> set[str]:
        """Those of the names that a lesson, course or profile holds, in a field of its own or within a text."""
        name = sa.func.unnest(sa.cast(names, sa.ARRAY(sa.Text))).column_valued("name")
        within_course = sa.func.concat_ws(" ", World.image_url, World.thumbnail_url, World.description)
        within_lesson = sa.func.concat_ws(" ", Lesson.thumbnail_url, Lesson.description, Lesson.content_json)
        is_named = sa.or_(
            sa.exists().where(UserProfile.avatar_url == name),
            sa.exists().where(Lesson.mux_asset_id == name),
            sa.exists().where(sa.func.strpos(within_course, name) > 0),
            sa.exists().where(sa.func.strpos(within_lesson, name) > 0),
        )
        return set(await self.session.scalars(sa.select(name).where(is_named))) if names else set()

    async def remove_pending(self, kind: DeletionKind, name: str) -> None:
        """It is done."""
        query = sa.delete(PendingDeletion).where(PendingDeletion.kind == kind, PendingDeletion.name == name)
        await self.session.execute(query)

    async def postpone(self, kind: DeletionKind, name: str, error: str) -> None:
        """It failed: try again after half a minute, twice as long each time, six hours at most."""
        wait = sa.func.least(
            FIRST_RETRY * sa.func.power(2, sa.func.least(PendingDeletion.attempts - 1, 20)), LAST_RETRY
        )
        query = (
            sa.update(PendingDeletion)
            .where(PendingDeletion.kind == kind, PendingDeletion.name == name)
            .values(leased_until=None, due_at=sa.func.now() + wait, error=error)
        )
        await self.session.execute(query)

    async def hasten(self) -> int:
        """Make whatever failed before due now; returns how many deletions are due."""
        query = sa.update(PendingDeletion).where(PendingDeletion.attempts > 0).values(due_at=sa.func.now())
        await self.session.execute(query)
        due = sa.select(sa.func.count()).where(*IS_DUE)
        return await self.session.scalar(due) or 0

    async def known(self, urls: list[str]) -> set[str]:
        """Those of the URLs that a row names, or that are to be looked at in time."""
        pending = sa.select(PendingDeletion.name).where(PendingDeletion.name.in_(urls))
        return await self._named(urls) | set(await self.session.scalars(pending))
