"""Talking about lessons."""

from datetime import datetime
from typing import Any
from uuid import UUID

from litestar.di import NamedDependency
from sqlalchemy.ext.asyncio import AsyncSession

from mambo.access.rules import access_of, require_open
from mambo.comments.models import Comment
from mambo.comments.repository import CommentRepository, Thread
from mambo.comments.schemas import Author, CommentCreate, CommentView, ReplyView
from mambo.courses.repository import LessonRepository
from mambo.errors import Conflict, NotAllowed, NotFound
from mambo.users.rules import public_name
from mambo.web.principal import Principal
from mambo.web.schemas import Page

NEWEST = 3


class CommentService:
    """What people say about lessons; each way in but `get_newest` asks whether the lesson is open to who comes.

    Raises:
        NotFound: there is no such lesson, or no such comment on it.
        NotAllowed: the lesson is locked.

    """

    def __init__(self, session: AsyncSession, now: datetime) -> None:
        self.lessons = LessonRepository(session)
        self.comments = CommentRepository(session)
        self.now = now

    async def get_newest(self, lesson_id: UUID, reader: Principal) -> list[CommentView]:
        """The few newest comments on a lesson that is open to the reader."""
        return [to_view(thread, reader) for thread in await self.comments.get_threads(lesson_id, limit=NEWEST)]

    async def get_page(
        self, lesson_id: UUID, reader: Principal, parent_id: UUID | None, *, limit: int, cursor: UUID | None
    ) -> Page[CommentView]:
        """Comments, the newest first; or the replies to one, the oldest first."""
        await self._enter(lesson_id, reader)
        if parent_id is None:
            found = await self.comments.get_threads(lesson_id, limit=limit + 1, before=cursor)
        else:
            found = await self.comments.get_replies(lesson_id, parent_id, limit=limit + 1, after=cursor)
        items = [to_view(thread, reader) for thread in found[:limit]]
        return Page(items=items, next_cursor=str(items[-1].id) if len(found) > limit else None)

    async def add(self, lesson_id: UUID, author: Principal, data: CommentCreate) -> CommentView:
        """Say something, once however often and at once it is sent with the same key.

        Raises:
            Conflict: it replies to a reply, or the key is that of another comment.

        """
        await self._enter(lesson_id, author)
        if data.parent_id is not None:
            await self._check_parent(lesson_id, data.parent_id)
        comment_id = await self.comments.add_once(
            lesson_id, author.user_id, data.parent_id, data.key, data.body, self.now
        )
        if comment_id is None:
            raise Conflict(
                "This was said before, about another lesson or removed since: send it with a new key.", code="key_used"
            )
        return to_view(await self.comments.get_thread(comment_id), author)

    async def change(self, lesson_id: UUID, comment_id: UUID, author: Principal, body: str) -> CommentView:
        """Put one's own comment into other words; NotAllowed when it is someone else's."""
        comment = await self._lock(lesson_id, comment_id, author)
        if comment.author_id != author.user_id:
            raise NotAllowed("Only who wrote a comment may change it.")
        if comment.body != body:
            comment.body, comment.edited_at = body, self.now
        return to_view(await self.comments.get_thread(comment_id), author)

    async def remove(self, lesson_id: UUID, comment_id: UUID, person: Principal) -> None:
        """Remove one's own comment, or as staff anyone's; NotAllowed when it is someone else's."""
        comment = await self._lock(lesson_id, comment_id, person)
        if comment.author_id != person.user_id and not person.is_staff:
            raise NotAllowed("Only who wrote a comment, instructors and admins may remove it.")
        comment.body, comment.removed_at = None, self.now

    async def _enter(self, lesson_id: UUID, person: Principal) -> None:
        _, world = await self.lessons.get_with_world(lesson_id)
        require_open(access_of(person, world))

    async def _lock(self, lesson_id: UUID, comment_id: UUID, person: Principal) -> Comment:
        await self._enter(lesson_id, person)
        comment = await self.comments.lock(lesson_id, comment_id)
        if comment is None:
            raise NotFound("comment")
        return comment

    async def _check_parent(self, lesson_id: UUID, parent_id: UUID) -> None:
        parent = await self.comments.find(lesson_id, parent_id)
        if parent is None:
            raise NotFound("comment")
        if parent.parent_id is not None:
            raise Conflict("This is a reply itself: reply to the comment above it.", code="reply_to_reply")


def to_view(thread: Thread, reader: Principal) -> CommentView:
    return CommentView(
        **said(thread, reader),
        reply_count=thread.reply_count,
        replies=[ReplyView(**said(reply, reader)) for reply in thread.replies],
    )


def said(thread: Thread, reader: Principal) -> dict[str, Any]:
    """The fields of a `ReplyView`."""
    comment = thread.comment
    author = None
    if comment.removed_at is None and comment.author_id is not None:
        name = public_name(thread.first_name or "", thread.last_name or "")
        author = Author(id=comment.author_id, name=name, avatar_url=thread.avatar_url)
    return {
        "id": comment.id,
        "parent_id": comment.parent_id,
        "body": comment.body,
        "author": author,
        "created_at": comment.created_at,
        "edited_at": comment.edited_at,
        "is_own": author is not None and author.id == reader.user_id,
        "is_removed": comment.removed_at is not None,
    }


async def provide_comment_service(
    session: NamedDependency[AsyncSession], now: NamedDependency[datetime]
) -> CommentService:
    return CommentService(session, now)
