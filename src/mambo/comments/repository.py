"""Questions about comments."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

import sqlalchemy as sa
from msgspec import Struct
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import aliased
from uuid_utils.compat import uuid7

from mambo.comments.models import Comment
from mambo.database.repository import Repository
from mambo.users.models import User, UserProfile

REPLIES_SHOWN = 3
Reply = aliased(Comment)


class Thread(Struct, frozen=True):
    """A comment, who wrote it unless their account is gone, and its first replies of so many."""

    comment: Comment
    first_name: str | None
    last_name: str | None
    avatar_url: str | None
    reply_count: int
    replies: list["Thread"] = []


def present(lesson_id: UUID, comment_id: UUID) -> sa.Select[Comment]:
    return sa.select(Comment).where(
        Comment.id == comment_id, Comment.lesson_id == lesson_id, Comment.removed_at.is_(None)
    )


def is_reply_to(
    lesson_id: UUID | sa.SQLColumnExpression[UUID], comment_id: UUID | sa.SQLColumnExpression[UUID]
) -> sa.ColumnElement[bool]:
    return sa.and_(Reply.lesson_id == lesson_id, Reply.parent_id == comment_id, Reply.removed_at.is_(None))


class CommentRepository(Repository[Comment]):
    """Comments under lessons; reading is one statement, however many there are."""

    model_type = Comment

    async def get_threads(self, lesson_id: UUID, *, limit: int, before: UUID | None = None) -> Sequence[Thread]:
        """The comments on a lesson, the newest first; a removed one is among them while it has a reply."""
        # Not EXISTS, for which PostgreSQL would read all replies on the lesson.
        a_reply = sa.select(Reply.id).where(is_reply_to(Comment.lesson_id, Comment.id)).limit(1).scalar_subquery()
        page = sa.select(Comment.id, Comment.lesson_id).where(
            Comment.lesson_id == lesson_id,
            Comment.parent_id.is_(None),
            Comment.removed_at.is_(None) | a_reply.is_not(None),
        )
        if before is not None:
            page = page.where(Comment.id < before)
        # `parent_id` is null in all of them, and lets PostgreSQL see that the index is in this order.
        newest_first = page.order_by(Comment.parent_id.desc(), Comment.id.desc()).limit(limit)
        return (await self._read(newest_first))[::-1]

    async def get_replies(
        self, lesson_id: UUID, comment_id: UUID, *, limit: int, after: UUID | None = None
    ) -> Sequence[Thread]:
        """The replies to a comment on a lesson, the oldest first."""
        page = sa.select(Reply.id, Reply.lesson_id).where(is_reply_to(lesson_id, comment_id))
        if after is not None:
            page = page.where(Reply.id > after)
        return await self._read(page.order_by(Reply.id).limit(limit))

    async def get_thread(self, comment_id: UUID) -> Thread:
        [thread] = await self._read(sa.select(Comment.id, Comment.lesson_id).where(Comment.id == comment_id))
        return thread

    async def find(self, lesson_id: UUID, comment_id: UUID) -> Comment | None:
        """The comment, if it is one on this lesson and not removed."""
        return await self.session.scalar(present(lesson_id, comment_id))

    async def lock(self, lesson_id: UUID, comment_id: UUID) -> Comment | None:
        """The same; nobody else changes it until this transaction ends."""
        return await self.session.scalar(present(lesson_id, comment_id).with_for_update(key_share=True))

    async def add_once(
        self, lesson_id: UUID, author_id: UUID, parent_id: UUID | None, key: UUID | None, body: str, at: datetime
    ) -> UUID | None:
        """Store a comment, or find the one that its author stored with this key; answers its id.

        None when that one is on another lesson, or removed.
        """
        values = {"lesson_id": lesson_id, "author_id": author_id, "parent_id": parent_id, "key": key, "body": body}
        query = insert(Comment).values(id=uuid7(), created_at=at, **values)
        added: UUID | None = await self.session.scalar(
            query.on_conflict_do_nothing(constraint="uq_comment_key").returning(Comment.id)
        )
        if added is not None:
            return added
        stored = sa.select(Comment.id).where(Comment.author_id == author_id, Comment.key == key)
        return await self.session.scalar(stored.where(Comment.lesson_id == lesson_id, Comment.removed_at.is_(None)))

    async def _read(self, comments: sa.Select[UUID, UUID]) -> list[Thread]:
        """These comments with their first replies, in the order of their ids."""
        page = comments.cte("page")
        is_reply = is_reply_to(page.c.lesson_id, page.c.id)
        count = sa.select(sa.func.count()).select_from(Reply).where(is_reply).correlate(page).scalar_subquery()
        first = sa.select(Reply.id).where(is_reply).order_by(Reply.id).limit(REPLIES_SHOWN).lateral()
        shown = sa.union_all(
            sa.select(page.c.id, count.label("reply_count")),
            sa.select(first.c.id, sa.literal(0)).select_from(page.join(first, sa.true())),
        ).subquery()
        query = (
            sa.select(Comment, User.first_name, User.last_name, UserProfile.avatar_url, shown.c.reply_count)
            .join(shown, shown.c.id == Comment.id)
            .outerjoin(User, User.id == Comment.author_id)
            .outerjoin(UserProfile, UserProfile.user_id == User.id)
            .order_by(Comment.id)
        )
        threads = {row[0].id: Thread(*row) for row in await self.session.execute(query)}
        for thread in threads.values():
            if thread.comment.parent_id in threads:
                threads[thread.comment.parent_id].replies.append(thread)
        return [thread for thread in threads.values() if thread.comment.parent_id not in threads]
