"""`/api/courses`: the catalogue with one's own progress, lessons, and completing them; `/api/progress/me`."""

from typing import Any
from uuid import UUID

from litestar import Controller, Request, get
from litestar.datastructures import State
from litestar.di import NamedDependency, Provide
from litestar.params import FromPath
from litestar.types import ASGIApp, Receive, Scope, Send

from mambo.guards import Principal, open_to_anyone, principal_of, requires_user
from mambo.learning.schemas import Completion, LessonDetail, LessonView, Progress, WorldView
from mambo.learning.service import Learning, Reading, provide_learning, provide_reading
from mambo.openapi import raises
from mambo.tagged import FOR_ANYONE, FOR_ONE, Answer, answer, answers, encode, hot_get, hot_post, tagged_answers

WORLDS = "/api/courses/worlds"
NOT_FOR_ANYONE = frozenset({b"authorization", b"origin"})
Here = NamedDependency[Reading]
Asked = Request[Any, Any, Any]


class CatalogueController(Controller):
    path = "/api/courses"
    tags = ("Courses",)
    guards = (open_to_anyone,)
    dependencies = {"reading": Provide(provide_reading)}

    @hot_get("/worlds", responses=tagged_answers(list[WorldView]))
    async def list_worlds(self, request: Asked, reading: Here) -> Answer:
        """Published courses in order, with one's own progress and locks."""
        return answer(request.scope, await reading.get_worlds(), control_of(reading))

    @hot_get("/worlds/{world_id:uuid}/lessons", responses=tagged_answers(list[LessonView]) | raises(404))
    async def list_lessons(self, request: Asked, world_id: FromPath[UUID], reading: Here) -> Answer:
        """The lessons of a course in order."""
        return answer(request.scope, await reading.get_world_lessons(world_id), control_of(reading))


class LessonController(Controller):
    path = "/api"
    tags = ("Courses",)
    guards = (requires_user,)
    dependencies = {"reading": Provide(provide_reading), "learning": Provide(provide_learning)}

    @hot_get("/courses/lessons/{lesson_id:uuid}", responses=tagged_answers(LessonDetail) | raises(403, 404))
    async def get_lesson(self, request: Asked, lesson_id: FromPath[UUID], reading: Here) -> Answer:
        """A lesson with its neighbours in the course, and the newest comments."""
        return answer(request.scope, await reading.get_lesson(lesson_id, principal_of(request)), FOR_ONE)

    @hot_post(
        ["/courses/lessons/{lesson_id:uuid}/complete", "/progress/lessons/{lesson_id:uuid}/complete"],
        responses=answers(Completion) | raises(403, 404, 409),
    )
    async def complete_lesson(self, request: Asked, lesson_id: FromPath[UUID], reading: Here) -> Answer:
        """Complete a lesson; it pays once, and a boss battle completes by an approved submission alone."""
        return Answer(encode(await reading.complete(lesson_id, principal_of(request))))

    @get("/progress/me")
    async def get_progress(
        self, principal: NamedDependency[Principal], learning: NamedDependency[Learning]
    ) -> Progress:
        """One's own progress in every published course, and the lesson to continue with."""
        return await learning.get_progress(principal)


def control_of(reading: Reading) -> bytes:
    return FOR_ANYONE if reading.visitor is None else FOR_ONE


class Doorstep:
    """Answers the one question that everybody asks first before it is routed: anyone's list of courses, from memory.

    Whoever says who they are or asks from another site goes in, and so does everyone while memory is not fresh.
    """

    def __init__(self, app: ASGIApp, state: State) -> None:
        self.app, self.state = app, state

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if (
            scope.get("path") == WORLDS
            and scope.get("method") == "GET"
            and NOT_FOR_ANYONE.isdisjoint(name for name, _ in scope["headers"])
            and (snapshot := self.state.catalogue.fresh()) is not None
        ):
            scope["path_template"] = WORLDS
            await answer(scope, snapshot.for_anyone, FOR_ANYONE)(scope, receive, send)
        else:
            await self.app(scope, receive, send)
