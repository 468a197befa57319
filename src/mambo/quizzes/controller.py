"""`/api/courses/lessons/{lesson_id}/quiz`: attempts at the quiz of a lesson."""

from uuid import UUID

from litestar import Controller, post
from litestar.di import NamedDependency, Provide
from litestar.params import FromPath, JSONBody

from mambo.quizzes.schemas import QuizAnswers, QuizResult
from mambo.quizzes.service import QuizService, provide_quiz_service
from mambo.web.guards import requires_user
from mambo.web.openapi import raises
from mambo.web.principal import Principal


class QuizController(Controller):
    path = "/api/courses/lessons/{lesson_id:uuid}/quiz"
    tags = ("Courses",)
    guards = (requires_user,)
    dependencies = {"service": Provide(provide_quiz_service, sync_to_thread=False)}

    @post(status_code=200, responses=raises(403, 404, 409, 429))
    async def attempt_quiz(
        self,
        lesson_id: FromPath[UUID],
        data: JSONBody[QuizAnswers],
        principal: NamedDependency[Principal],
        service: NamedDependency[QuizService],
    ) -> QuizResult:
        """Answer the quiz of a lesson; 80 percent pass, the first pass pays 25 XP, and only here are answers shown."""
        return await service.attempt(lesson_id, principal, data.answers)
