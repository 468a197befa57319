"""Writes and reads comments, over the API and in the database."""

from typing import Any
from uuid import UUID

import sqlalchemy as sa

from factories import Caller, School
from mambo.comments.models import Comment
from mambo.courses.models import Lesson


def comments_path(lesson: Lesson) -> str:
    return f"/api/courses/lessons/{lesson.id}/comments"


async def post_comment(author: Caller, lesson: Lesson, body: str = "Nice.", **fields: Any) -> dict[str, Any]:
    """Create a comment over the API, and return the response's body."""
    response = await author.post(comments_path(lesson), {"body": body} | fields)
    assert response.status_code == 201, response.text
    created: dict[str, Any] = response.json()
    return created


async def get_comments(lesson: Lesson, reader: Caller, **query: Any) -> list[dict[str, Any]]:
    """Return the items of a page."""
    response = await reader.get(comments_path(lesson), params=query)
    items: list[dict[str, Any]] = response.json()["items"]
    return items


async def add_comments(
    school: School, lesson: Lesson, author: Caller, number: int, parent_id: UUID | None = None
) -> list[UUID]:
    """Store `number` comments in the database, and return their ids, the oldest first."""
    comments = [
        Comment(lesson_id=lesson.id, author_id=author.user_id, parent_id=parent_id, body=f"No. {index}")
        for index in range(number)
    ]
    await school.add(*comments)
    return [comment.id for comment in comments]


async def get_rows(school: School) -> set[tuple[Any, ...]]:
    """Return all stored comments with all columns."""
    async with school.sessions() as session:
        return {tuple(row) for row in await session.execute(sa.select(*Comment.__table__.c))}
