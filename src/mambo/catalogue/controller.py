"""`/api/courses`: the courses and lessons that a visitor may see."""

from typing import Any
from uuid import UUID

from litestar import Controller, Request
from litestar.di import NamedDependency, Provide
from litestar.params import FromPath

from mambo.catalogue.schemas import LessonDetail, LessonView, WorldView
from mambo.catalogue.service import CatalogueService, provide_catalogue_service
from mambo.web.guards import open_to_anyone, requires_user
from mambo.web.handlers import fast_get
from mambo.web.openapi import raises
from mambo.web.principal import Principal
from mambo.web.responses import PRIVATE, PUBLIC, BytesResponse, conditional_response, etag_response_spec

HttpRequest = Request[Any, Any, Any]
Service = NamedDependency[CatalogueService]


class CatalogueController(Controller):
    path = "/api/courses"
    tags = ("Courses",)
    guards = (open_to_anyone,)
    dependencies = {"service": Provide(provide_catalogue_service, sync_to_thread=False)}

    @fast_get("/worlds", responses=etag_response_spec(list[WorldView]))
    async def list_worlds(
        self, request: HttpRequest, visitor: NamedDependency[Principal | None], service: Service
    ) -> BytesResponse:
        """Published courses in order, with your own progress and locks."""
        return conditional_response(request.scope, await service.get_worlds(visitor), cache_control(visitor))

    @fast_get("/worlds/{world_id:uuid}/lessons", responses=etag_response_spec(list[LessonView]) | raises(404))
    async def list_lessons(
        self,
        request: HttpRequest,
        world_id: FromPath[UUID],
        visitor: NamedDependency[Principal | None],
        service: Service,
    ) -> BytesResponse:
        """The lessons of a course in order."""
        response = await service.get_world_lessons(world_id, visitor)
        return conditional_response(request.scope, response, cache_control(visitor))


class LessonController(Controller):
    path = "/api/courses/lessons"
    tags = ("Courses",)
    guards = (requires_user,)
    dependencies = {"service": Provide(provide_catalogue_service, sync_to_thread=False)}

    @fast_get("/{lesson_id:uuid}", responses=etag_response_spec(LessonDetail) | raises(403, 404))
    async def get_lesson(
        self,
        request: HttpRequest,
        lesson_id: FromPath[UUID],
        principal: NamedDependency[Principal],
        service: Service,
    ) -> BytesResponse:
        """A lesson with its neighbours in the course, and the newest comments."""
        return conditional_response(request.scope, await service.get_lesson(lesson_id, principal), PRIVATE)


def cache_control(visitor: Principal | None) -> bytes:
    """Return who may keep the response: any cache, or only the visitor's own."""
    return PUBLIC if visitor is None else PRIVATE
