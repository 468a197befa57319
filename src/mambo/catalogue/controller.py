"""`/api/courses`: the catalogue with one's own progress, lessons, and completing them; `/api/progress/me`."""

from typing import Any
from uuid import UUID

from litestar import Controller, Request, get
from litestar.di import NamedDependency, Provide
from litestar.params import FromPath

from mambo.catalogue.schemas import LessonDetail, LessonView, WorldView
from mambo.catalogue.service import CatalogueService, provide_catalogue_service
from mambo.progress.schemas import Completion, Progress
from mambo.progress.service import ProgressService, provide_progress_service
from mambo.web.guards import open_to_anyone, requires_user
from mambo.web.handlers import fast_get, fast_post
from mambo.web.openapi import raises
from mambo.web.principal import Principal, principal_of
from mambo.web.responses import (
    PRIVATE,
    PUBLIC,
    BytesResponse,
    conditional_response,
    etag_response_spec,
)

Here = NamedDependency[CatalogueService]
Asked = Request[Any, Any, Any]


class CatalogueController(Controller):
    path = "/api/courses"
    tags = ("Courses",)
    guards = (open_to_anyone,)
    dependencies = {"reading": Provide(provide_catalogue_service, sync_to_thread=False)}

    @fast_get("/worlds", responses=etag_response_spec(list[WorldView]))
    async def list_worlds(self, request: Asked, reading: Here) -> BytesResponse:
        """Published courses in order, with one's own progress and locks."""
        return conditional_response(request.scope, await reading.get_worlds(), control_of(reading))

    @fast_get("/worlds/{world_id:uuid}/lessons", responses=etag_response_spec(list[LessonView]) | raises(404))
    async def list_lessons(self, request: Asked, world_id: FromPath[UUID], reading: Here) -> BytesResponse:
        """The lessons of a course in order."""
        return conditional_response(request.scope, await reading.get_world_lessons(world_id), control_of(reading))


class LessonController(Controller):
    path = "/api"
    tags = ("Courses",)
    guards = (requires_user,)
    dependencies = {
        "reading": Provide(provide_catalogue_service, sync_to_thread=False),
        "learning": Provide(provide_progress_service),
    }

    @fast_get("/courses/lessons/{lesson_id:uuid}", responses=etag_response_spec(LessonDetail) | raises(403, 404))
    async def get_lesson(self, request: Asked, lesson_id: FromPath[UUID], reading: Here) -> BytesResponse:
        """A lesson with its neighbours in the course, and the newest comments."""
        return conditional_response(request.scope, await reading.get_lesson(lesson_id, principal_of(request)), PRIVATE)

    @fast_post(
        ["/courses/lessons/{lesson_id:uuid}/complete", "/progress/lessons/{lesson_id:uuid}/complete"],
        responses=raises(403, 404, 409),
    )
    async def complete_lesson(self, request: Asked, lesson_id: FromPath[UUID], reading: Here) -> Completion:
        """Complete a lesson; it pays once, and a boss battle completes by an approved submission alone."""
        return await reading.complete(lesson_id, principal_of(request))

    @get("/progress/me")
    async def get_progress(
        self, principal: NamedDependency[Principal], learning: NamedDependency[ProgressService]
    ) -> Progress:
        """One's own progress in every published course, and the lesson to continue with."""
        return await learning.get_progress(principal)


def control_of(reading: CatalogueService) -> bytes:
    return PUBLIC if reading.visitor is None else PRIVATE
