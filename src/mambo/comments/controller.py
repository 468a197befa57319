"""`/api/courses/lessons/{lesson_id}/comments`: what people say about a lesson."""

from typing import Annotated
from uuid import UUID

from litestar import Controller, delete, get, patch, post
from litestar.di import NamedDependency, Provide
from litestar.params import FromPath, JSONBody, QueryParameter

from mambo.comments.schemas import CommentChange, CommentCreate, CommentView
from mambo.comments.service import CommentService, provide_comment_service
from mambo.limits.rules import COMMENT
from mambo.web.guards import requires_user
from mambo.web.openapi import raises
from mambo.web.principal import Principal
from mambo.web.schemas import Page


class CommentController(Controller):
    path = "/api/courses/lessons/{lesson_id:uuid}/comments"
    tags = ("Comments",)
    guards = (requires_user,)
    dependencies = {"discussion": Provide(provide_comment_service)}

    @get("/", responses=raises(403, 404))
    async def list_comments(
        self,
        lesson_id: FromPath[UUID],
        principal: NamedDependency[Principal],
        discussion: NamedDependency[CommentService],
        parent_id: Annotated[UUID | None, QueryParameter(description="The comment whose replies to list")] = None,
        limit: Annotated[int, QueryParameter(ge=1, le=100)] = 50,
        cursor: Annotated[UUID | None, QueryParameter(description="The next_cursor of the page before")] = None,
    ) -> Page[CommentView]:
        """Comments on a lesson, the newest first; or with `parent_id` all replies to one, the oldest first."""
        return await discussion.get_page(lesson_id, principal, parent_id, limit=limit, cursor=cursor)

    @post("/", rate_limit=COMMENT, responses=raises(403, 404, 409, 429))
    async def add_comment(
        self,
        lesson_id: FromPath[UUID],
        data: JSONBody[CommentCreate],
        principal: NamedDependency[Principal],
        discussion: NamedDependency[CommentService],
    ) -> CommentView:
        """Say something about a lesson, or reply to a comment; the same `key` again answers what is said already."""
        return await discussion.add(lesson_id, principal, data)

    @patch("/{comment_id:uuid}", responses=raises(403, 404))
    async def change_comment(
        self,
        lesson_id: FromPath[UUID],
        comment_id: FromPath[UUID],
        data: JSONBody[CommentChange],
        principal: NamedDependency[Principal],
        discussion: NamedDependency[CommentService],
    ) -> CommentView:
        """Put one's own comment into other words."""
        return await discussion.change(lesson_id, comment_id, principal, data.body)

    @delete("/{comment_id:uuid}", responses=raises(403, 404))
    async def remove_comment(
        self,
        lesson_id: FromPath[UUID],
        comment_id: FromPath[UUID],
        principal: NamedDependency[Principal],
        discussion: NamedDependency[CommentService],
    ) -> None:
        """Remove one's own comment, or as staff anyone's; with replies it stays in place, without its words."""
        await discussion.remove(lesson_id, comment_id, principal)
