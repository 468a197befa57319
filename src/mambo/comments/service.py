"""Writing, changing and removing comments."""

from datetime import datetime
from uuid import UUID

from litestar.di import NamedDependency
from sqlalchemy.ext.asyncio import AsyncSession

from mambo.access.rules import access_of, require_open
from mambo.comments.models import Comment
from mambo.comments.repository import CommentRepository
from mambo.comments.schemas import CommentCreate, CommentView
from mambo.courses.repository import LessonRepository
from mambo.errors import Conflict, NotAllowed
from mambo.web.principal import Principal


class CommentService:
    """Writes comments on lessons that are open to their authors.

    Every method raises:
        NotFound: there is no such lesson, or no such comment on it.
        NotAllowed: the lesson is locked, or the comment is someone else's.

    """

    def __init__(self, lessons: LessonRepository, comments: CommentRepository, now: datetime) -> None:
        self.lessons, self.comments, self.now = lessons, comments, now

    async def add(self, lesson_id: UUID, author: Principal, data: CommentCreate) -> CommentView:
        """Store a comment, and return it; if there is one with the same `key`, only return that one.

        Raises:
            Conflict: it replies to a reply, or the key is that of another comment.

        """
        await self._require_open(lesson_id, author)
        if data.parent_id is not None:
            await self._require_thread(lesson_id, data.parent_id)
        comment_id = await self.comments.add_once(
            lesson_id, author.user_id, data.parent_id, data.key, data.body, self.now
        )
        if comment_id is None:
            raise Conflict(
                "This key belongs to a comment on another lesson, or to a removed one: send a new key.", code="key_used"
            )
        return await self.comments.get_view(comment_id, author)

    async def change(self, lesson_id: UUID, comment_id: UUID, author: Principal, body: str) -> CommentView:
        """Give the author's own comment a new text, and return it."""
        comment = await self._lock(lesson_id, comment_id, author)
        if comment.author_id != author.user_id:
            raise NotAllowed("Only the author of a comment may change it.")
        if comment.body != body:
            comment.body, comment.edited_at = body, self.now
        return await self.comments.get_view(comment_id, author)

    async def remove(self, lesson_id: UUID, comment_id: UUID, person: Principal) -> None:
        """Delete the text of the person's own comment, or as staff of any; its row stays, and so do its replies."""
        comment = await self._lock(lesson_id, comment_id, person)
        if comment.author_id != person.user_id and not person.is_staff:
            raise NotAllowed("Only the author of a comment, instructors and admins may remove it.")
        comment.body, comment.removed_at = None, self.now

    async def _require_open(self, lesson_id: UUID, person: Principal) -> None:
        _, world = await self.lessons.get_with_world(lesson_id)
        require_open(access_of(person, world))

    async def _lock(self, lesson_id: UUID, comment_id: UUID, person: Principal) -> Comment:
        await self._require_open(lesson_id, person)
        return await self.comments.lock(lesson_id, comment_id)

    async def _require_thread(self, lesson_id: UUID, comment_id: UUID) -> None:
        comment = await self.comments.get_present(lesson_id, comment_id)
        if comment.parent_id is not None:
            raise Conflict("This is a reply itself: reply to the comment above it.", code="reply_to_reply")


def provide_comment_service(session: NamedDependency[AsyncSession], now: NamedDependency[datetime]) -> CommentService:
    return CommentService(LessonRepository(session), CommentRepository(session), now)
