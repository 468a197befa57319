"""What goes in and out of comments."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from msgspec import Meta

from mambo.web.schemas import STORABLE, Input, Output

Words = Annotated[
    str,
    Meta(min_length=1, max_length=2000, pattern=r"^(?=\s*\S)" + STORABLE[1:], examples=["Where is the weight on 6?"]),
]


class CommentCreate(Input):
    """A comment, or a reply to one; a `key` that the client made lets it be sent again, and be said once."""

    body: Words
    parent_id: UUID | None = None
    key: UUID | None = None


class CommentChange(Input):
    """Other words for a comment."""

    body: Words


class Author(Output):
    """Whoever said it: first name and last initial."""

    id: UUID
    name: str
    avatar_url: str | None


class ReplyView(Output):
    """What someone said, as plain text; removed, it has no body and no author, whose account may also be gone."""

    id: UUID
    parent_id: UUID | None
    body: str | None
    author: Author | None
    created_at: datetime
    edited_at: datetime | None
    is_own: bool
    is_removed: bool


class CommentView(ReplyView):
    """A comment with the number of its replies and the first few of them, the oldest first."""

    reply_count: int
    replies: list[ReplyView]
