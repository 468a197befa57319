"""`/api/courses`: the catalogue with one's own progress, lessons, and completing them; `/api/progress/me`."""

from uuid import UUID

from litestar import Controller, get, post
from litestar.di import NamedDependency, Provide
from litestar.params import FromPath

from mambo.guards import Principal, open_to_anyone, requires_user
from mambo.learning.schemas import Completion, LessonDetail, LessonView, Progress, WorldView
from mambo.learning.service import Learning, provide_learning
from mambo.openapi import raises

Visitor = NamedDependency[Principal | None]


class CatalogueController(Controller):
    path = "/api/courses"
    tags = ("Courses",)
    guards = (open_to_anyone,)
    dependencies = {"learning": Provide(provide_learning)}

    @get("/worlds")
    async def list_worlds(self, visitor: Visitor, learning: NamedDependency[Learning]) -> list[WorldView]:
        """Published courses in order, with one's own progress and locks."""
        return await learning.get_worlds(visitor)

    @get("/worlds/{world_id:uuid}/lessons", responses=raises(404))
    async def list_lessons(
        self, world_id: FromPath[UUID], visitor: Visitor, learning: NamedDependency[Learning]
    ) -> list[LessonView]:
        """The lessons of a course in order."""
        return await learning.get_world_lessons(world_id, visitor)


class LessonController(Controller):
    path = "/api"
    tags = ("Courses",)
    guards = (requires_user,)
    dependencies = {"learning": Provide(provide_learning)}

    @get("/courses/lessons/{lesson_id:uuid}", responses=raises(403, 404))
    async def get_lesson(
        self, lesson_id: FromPath[UUID], principal: NamedDependency[Principal], learning: NamedDependency[Learning]
    ) -> LessonDetail:
        """A lesson with its neighbours in the course."""
        return await learning.get_lesson(lesson_id, principal)

    @post(
        ["/courses/lessons/{lesson_id:uuid}/complete", "/progress/lessons/{lesson_id:uuid}/complete"],
        status_code=200,
        responses=raises(403, 404, 409),
    )
    async def complete_lesson(
        self, lesson_id: FromPath[UUID], principal: NamedDependency[Principal], learning: NamedDependency[Learning]
    ) -> Completion:
        """Complete a lesson; it pays once, and a boss battle completes by an approved submission alone."""
        return await learning.complete(lesson_id, principal)

    @get("/progress/me")
    async def get_progress(
        self, principal: NamedDependency[Principal], learning: NamedDependency[Learning]
    ) -> Progress:
        """One's own progress in every published course, and the lesson to continue with."""
        return await learning.get_progress(principal)
