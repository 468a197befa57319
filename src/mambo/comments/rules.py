"""Builds comments as one reader sees them."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any
from uuid import UUID

from msgspec import Struct

from mambo.comments.schemas import Author, CommentView, ReplyView
from mambo.users.rules import public_name


class CommentRow(Struct, frozen=True):
    """A stored comment with its author; names are null when the account was deleted."""

    id: UUID
    parent_id: UUID | None
    author_id: UUID | None
    body: str | None
    created_at: datetime
    edited_at: datetime | None
    removed_at: datetime | None
    first_name: str | None
    last_name: str | None
    avatar_url: str | None
    reply_count: int


def to_views(rows: Iterable[CommentRow], reader_id: UUID) -> list[CommentView]:
    """Return the comments in the order of their rows; a row whose parent precedes it becomes one of its replies."""
    views: dict[UUID, CommentView] = {}
    for row in rows:
        parent = views.get(row.parent_id) if row.parent_id else None
        if parent is None:
            views[row.id] = CommentView(**fields_of(row, reader_id), reply_count=row.reply_count, replies=[])
        else:
            parent.replies.append(ReplyView(**fields_of(row, reader_id)))
    return list(views.values())


def fields_of(row: CommentRow, reader_id: UUID) -> dict[str, Any]:
    """Return the fields of a `ReplyView`."""
    author = author_of(row)
    return {
        "id": row.id,
        "parent_id": row.parent_id,
        "body": row.body,
        "author": author,
        "created_at": row.created_at,
        "edited_at": row.edited_at,
        "is_own": author is not None and author.id == reader_id,
        "is_removed": row.removed_at is not None,
    }


def author_of(row: CommentRow) -> Author | None:
    """Return the author, or None when the comment was removed or its author's account deleted."""
    if row.removed_at is not None or row.author_id is None:
        return None
    return Author(
        id=row.author_id, name=public_name(row.first_name or "", row.last_name or ""), avatar_url=row.avatar_url
    )
