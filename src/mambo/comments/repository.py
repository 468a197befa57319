"""Queries on comments."""

from datetime import datetime
from uuid import UUID

import sqlalchemy as sa
from litestar.di import NamedDependency
from msgspec import Struct
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import aliased
from uuid_utils.compat import uuid7

from mambo.comments.models import Comment
from mambo.comments.rules import CommentRow, to_views
from mambo.comments.schemas import CommentView
from mambo.courses.models import Lesson, World
from mambo.database.pool import Pool
from mambo.database.repository import AFTER_ALL, BEFORE_ALL, Query, ReadRepository, Repository
from mambo.database.statements import param
from mambo.users.models import User, UserProfile
from mambo.web.principal import Principal
from mambo.web.schemas import Page

NEWEST = 3
REPLIES_SHOWN = 3
Reply = aliased(Comment)


class CourseAccess(Struct, frozen=True):
    """What decides about access to the lessons of a course."""

    is_published: bool
    is_free: bool


def is_reply_to(
    lesson_id: sa.SQLColumnExpression[UUID], comment_id: sa.SQLColumnExpression[UUID]
) -> sa.ColumnElement[bool]:
    return sa.and_(Reply.lesson_id == lesson_id, Reply.parent_id == comment_id, Reply.removed_at.is_(None))


def select_rows(shown: sa.Subquery) -> sa.Select[*tuple[object, ...]]:
    """Select a `CommentRow` for each `id` and `reply_count` of `shown`, the oldest first."""
    return (
        sa.select(
            Comment.id,
            Comment.parent_id,
            Comment.author_id,
            Comment.body,
            Comment.created_at,
            Comment.edited_at,
            Comment.removed_at,
            User.first_name,
            User.last_name,
            UserProfile.avatar_url,
            shown.c.reply_count,
        )
        .join(shown, shown.c.id == Comment.id)
        .outerjoin(User, User.id == Comment.author_id)
        .outerjoin(UserProfile, UserProfile.user_id == User.id)
        .order_by(Comment.id)
    )


def with_replies(comments: sa.Select[UUID, UUID]) -> sa.Select[*tuple[object, ...]]:
    """Select a `CommentRow` for each of these comments (their ids and lessons) and for their first replies."""
    page = comments.cte("page")
    is_reply = is_reply_to(page.c.lesson_id, page.c.id)
    count = sa.select(sa.func.count()).select_from(Reply).where(is_reply).correlate(page).scalar_subquery()
    first = sa.select(Reply.id).where(is_reply).order_by(Reply.id).limit(REPLIES_SHOWN).lateral()
    shown = sa.union_all(
        sa.select(page.c.id, count.label("reply_count")),
        sa.select(first.c.id, sa.literal(0)).select_from(page.join(first, sa.true())),
    )
    return select_rows(shown.subquery())


LESSON_ID, COMMENT_ID = param("lesson_id", sa.Uuid()), param("comment_id", sa.Uuid())
CURSOR, LIMIT = param("cursor", sa.Uuid()), param("limit", sa.Integer())
# Not EXISTS, for which PostgreSQL would read all replies on the lesson.
FIRST_REPLY = sa.select(Reply.id).where(is_reply_to(Comment.lesson_id, Comment.id)).limit(1).scalar_subquery()
THREADS = Query(
    with_replies(
        sa.select(Comment.id, Comment.lesson_id)
        .where(
            Comment.lesson_id == LESSON_ID,
            Comment.parent_id.is_(None),
            Comment.removed_at.is_(None) | FIRST_REPLY.is_not(None),
            Comment.id < CURSOR,
        )
        # `parent_id` is null in all of them; named here, it lets PostgreSQL read the index in its order.
        .order_by(Comment.parent_id.desc(), Comment.id.desc())
        .limit(LIMIT)
    ),
    CommentRow,
)
REPLIES = Query(
    select_rows(
        sa.select(Reply.id, sa.literal(0).label("reply_count"))
        .where(is_reply_to(LESSON_ID, COMMENT_ID), Reply.id > CURSOR)
        .order_by(Reply.id)
        .limit(LIMIT)
        .subquery()
    ),
    CommentRow,
)
THREAD = with_replies(sa.select(Comment.id, Comment.lesson_id).where(Comment.id == COMMENT_ID))
COURSE = Query(
    sa.select(World.is_published, World.is_free)
    .join(Lesson, Lesson.world_id == World.id)
    .where(Lesson.id == LESSON_ID),
    CourseAccess,
)


class CommentReadRepository(ReadRepository):
    """Reads comments as one reader sees them; callers check access to the lesson."""

    async def get_course(self, lesson_id: UUID) -> CourseAccess | None:
        """Return what decides about access to the lesson; None when there is no such lesson."""
        return await self._one(COURSE, lesson_id=lesson_id)

    async def get_newest(self, lesson_id: UUID, reader: Principal) -> list[CommentView]:
        """Return the three newest comments, the newest first."""
        return await self._get_threads(lesson_id, reader, limit=NEWEST)

    async def get_threads(
        self, lesson_id: UUID, reader: Principal, *, limit: int, cursor: UUID | None
    ) -> Page[CommentView]:
        """Return a page of comments, the newest first; a removed one is among them while it has replies."""
        return page_of(await self._get_threads(lesson_id, reader, limit=limit + 1, before=cursor), limit)

    async def get_replies(
        self, lesson_id: UUID, comment_id: UUID, reader: Principal, *, limit: int, cursor: UUID | None
    ) -> Page[CommentView]:
        """Return a page of the replies to a comment, the oldest first."""
        rows = await self._all(
            REPLIES, lesson_id=lesson_id, comment_id=comment_id, limit=limit + 1, cursor=cursor or BEFORE_ALL
        )
        return page_of(to_views(rows, reader.user_id), limit)

    async def _get_threads(
        self, lesson_id: UUID, reader: Principal, *, limit: int, before: UUID | None = None
    ) -> list[CommentView]:
        rows = await self._all(THREADS, lesson_id=lesson_id, limit=limit, cursor=before or AFTER_ALL)
        return to_views(rows, reader.user_id)[::-1]


def page_of(comments: list[CommentView], limit: int) -> Page[CommentView]:
    """Return a page of `limit` comments; one comment more says that there is a next page."""
    items = comments[:limit]
    return Page(items=items, next_cursor=str(items[-1].id) if len(comments) > limit else None)


def provide_comment_reads(pool: NamedDependency[Pool]) -> CommentReadRepository:
    return CommentReadRepository(pool)


class CommentRepository(Repository[Comment]):
    """Comments in the transaction of a session."""

    model_type = Comment
    label = "comment"

    async def get_view(self, comment_id: UUID, reader: Principal) -> CommentView:
        """Return the comment with its first replies as the reader sees it."""
        rows = (await self.session.execute(THREAD, {"comment_id": comment_id})).mappings()
        [view] = to_views([CommentRow(**row) for row in rows], reader.user_id)
        return view

    async def get_present(self, lesson_id: UUID, comment_id: UUID) -> Comment:
        """Return the comment.

        Raises:
            NotFound: it is not on this lesson, or removed.

        """
        return await self.get_required(id=comment_id, lesson_id=lesson_id, removed_at=None)

    async def lock(self, lesson_id: UUID, comment_id: UUID) -> Comment:
        """Return the comment, and lock it until the transaction ends.

        Raises:
            NotFound: it is not on this lesson, or removed.

        """
        return await self.get_required(
            id=comment_id, lesson_id=lesson_id, removed_at=None, with_for_update={"key_share": True}
        )

    async def add_once(
        self, lesson_id: UUID, author_id: UUID, parent_id: UUID | None, key: UUID | None, body: str, at: datetime
    ) -> UUID | None:
        """Store a comment unless its author has stored one with this key, and return the id of either.

        None when that one is on another lesson, or removed.
        """
        values = {"lesson_id": lesson_id, "author_id": author_id, "parent_id": parent_id, "key": key, "body": body}
        query = insert(Comment).values(id=uuid7(), created_at=at, **values)
        # One statement, because requests with the same key may arrive at the same time.
        added: UUID | None = await self.session.scalar(
            query.on_conflict_do_nothing(constraint="uq_comment_key").returning(Comment.id)
        )
        if added is not None:
            return added
        stored = sa.select(Comment.id).where(Comment.author_id == author_id, Comment.key == key)
        return await self.session.scalar(stored.where(Comment.lesson_id == lesson_id, Comment.removed_at.is_(None)))
