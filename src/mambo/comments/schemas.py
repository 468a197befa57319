"""Bodies of requests and responses about comments."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from msgspec import Meta

from mambo.web.schemas import STORABLE, Input, Output

CommentBody = Annotated[
    str,
    Meta(min_length=1, max_length=2000, pattern=r"^(?=\s*\S)" + STORABLE[1:], examples=["Where is the weight on 6?"]),
]


class CommentCreate(Input):
    """A new comment, or a reply to one; a client that sends it again with the same `key` creates it only once."""

    body: CommentBody
    parent_id: UUID | None = None
    key: UUID | None = None


class CommentChange(Input):
    """A new text for a comment."""

    body: CommentBody


class Author(Output):
    """The author of a comment: first name and last initial."""

    id: UUID
    name: str
    avatar_url: str | None


class ReplyView(Output):
    """A comment as plain text. A removed one has neither body nor author; a deleted account leaves no author."""

    id: UUID
    parent_id: UUID | None
    body: str | None
    author: Author | None
    created_at: datetime
    edited_at: datetime | None
    is_own: bool
    is_removed: bool


class CommentView(ReplyView):
    """A comment with the number of its replies and the first three of them, the oldest first."""

    reply_count: int
    replies: list[ReplyView]
