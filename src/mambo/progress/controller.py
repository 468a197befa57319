"""`/api/progress/me`, and completing lessons."""

from datetime import datetime
from uuid import UUID

from litestar import Controller
from litestar.di import NamedDependency, Provide
from litestar.params import FromPath

from mambo.progress.schemas import Completion, Progress
from mambo.progress.service import ProgressService, provide_progress_service
from mambo.web.guards import requires_user
from mambo.web.handlers import fast_get, fast_post
from mambo.web.openapi import raises
from mambo.web.principal import Principal


class ProgressController(Controller):
    path = "/api"
    tags = ("Courses",)
    guards = (requires_user,)
    dependencies = {"service": Provide(provide_progress_service, sync_to_thread=False)}

    # The second path is that of the first web client.
    @fast_post(
        ["/courses/lessons/{lesson_id:uuid}/complete", "/progress/lessons/{lesson_id:uuid}/complete"],
        responses=raises(403, 404, 409),
    )
    async def complete_lesson(
        self,
        lesson_id: FromPath[UUID],
        principal: NamedDependency[Principal],
        service: NamedDependency[ProgressService],
        now: NamedDependency[datetime],
    ) -> Completion:
        """Complete a lesson; it pays once, and a boss battle completes by an approved submission alone."""
        return await service.complete(lesson_id, principal, now)

    @fast_get("/progress/me")
    async def get_progress(
        self,
        principal: NamedDependency[Principal],
        service: NamedDependency[ProgressService],
        now: NamedDependency[datetime],
    ) -> Progress:
        """One's own progress in every published course, and the lesson to continue with."""
        return await service.get_progress(principal, now)
