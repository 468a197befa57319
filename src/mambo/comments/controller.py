"""`/api/courses/lessons/{lesson_id}/comments`: comments on a lesson."""

from typing import Annotated
from uuid import UUID

from litestar import Controller, delete, patch, post
from litestar.di import NamedDependency, Provide
from litestar.params import FromPath, JSONBody, QueryParameter

from mambo.access.rules import access_of, require_open
from mambo.comments.repository import CommentReadRepository, provide_comment_reads
from mambo.comments.schemas import CommentChange, CommentCreate, CommentView
from mambo.comments.service import CommentService, provide_comment_service
from mambo.limits.rules import COMMENT
from mambo.web.guards import requires_user
from mambo.web.handlers import fast_get
from mambo.web.openapi import raises
from mambo.web.principal import Principal
from mambo.web.schemas import Page


class CommentController(Controller):
    path = "/api/courses/lessons/{lesson_id:uuid}/comments"
    tags = ("Comments",)
    guards = (requires_user,)
    dependencies = {
        "comments": Provide(provide_comment_reads, sync_to_thread=False),
        "service": Provide(provide_comment_service, sync_to_thread=False),
    }

    @fast_get("/", responses=raises(403, 404))
    async def list_comments(
        self,
        lesson_id: FromPath[UUID],
        principal: NamedDependency[Principal],
        comments: NamedDependency[CommentReadRepository],
        parent_id: Annotated[UUID | None, QueryParameter(description="The comment whose replies to list")] = None,
        limit: Annotated[int, QueryParameter(ge=1, le=100)] = 50,
        cursor: Annotated[UUID | None, QueryParameter(description="The next_cursor of the page before")] = None,
    ) -> Page[CommentView]:
        """Comments on a lesson, the newest first; or with `parent_id` all replies to one, the oldest first."""
        require_open(access_of(principal, await comments.get_course(lesson_id)))
        if parent_id is None:
            return await comments.get_threads(lesson_id, principal, limit=limit, cursor=cursor)
        return await comments.get_replies(lesson_id, parent_id, principal, limit=limit, cursor=cursor)

    @post("/", rate_limit=COMMENT, responses=raises(403, 404, 409))
    async def add_comment(
        self,
        lesson_id: FromPath[UUID],
        data: JSONBody[CommentCreate],
        principal: NamedDependency[Principal],
        service: NamedDependency[CommentService],
    ) -> CommentView:
        """Comment on a lesson, or reply to a comment; repeating a `key` returns the comment it created."""
        return await service.add(lesson_id, principal, data)

    @patch("/{comment_id:uuid}", responses=raises(403, 404))
    async def change_comment(
        self,
        lesson_id: FromPath[UUID],
        comment_id: FromPath[UUID],
        data: JSONBody[CommentChange],
        principal: NamedDependency[Principal],
        service: NamedDependency[CommentService],
    ) -> CommentView:
        """Change the text of your own comment."""
        return await service.change(lesson_id, comment_id, principal, data.body)

    @delete("/{comment_id:uuid}", responses=raises(403, 404))
    async def remove_comment(
        self,
        lesson_id: FromPath[UUID],
        comment_id: FromPath[UUID],
        principal: NamedDependency[Principal],
        service: NamedDependency[CommentService],
    ) -> None:
        """Remove your own comment, or as staff any comment; one with replies stays in the list, without its text."""
        await service.remove(lesson_id, comment_id, principal)
