"""`/api/admin/submissions`: learners' submissions to boss battles, for staff to grade."""

from typing import Annotated
from uuid import UUID

from litestar import Controller, post
from litestar.di import NamedDependency, Provide
from litestar.params import FromPath, JSONBody, QueryParameter

from mambo.submissions.repository import SubmissionFilter, SubmissionReadRepository, provide_submission_reads
from mambo.submissions.rules import SubmissionStatus
from mambo.submissions.schemas import Grade, GradedSubmission, QueuedSubmission
from mambo.submissions.service import GradingService, provide_grading_service
from mambo.web.guards import requires_staff
from mambo.web.handlers import fast_get
from mambo.web.openapi import raises
from mambo.web.principal import Principal
from mambo.web.schemas import STORABLE, Page


def provide_filter(
    status: Annotated[SubmissionStatus | None, QueryParameter()] = None,
    lesson_id: Annotated[UUID | None, QueryParameter()] = None,
    world_id: Annotated[UUID | None, QueryParameter()] = None,
    user_id: Annotated[UUID | None, QueryParameter(description="The learner")] = None,
    search: Annotated[
        str | None, QueryParameter(max_length=200, pattern=STORABLE, description="Part of the learner's name")
    ] = None,
) -> SubmissionFilter:
    return SubmissionFilter(status, lesson_id, world_id, user_id, (search or "").strip() or None)


class SubmissionAdminController(Controller):
    path = "/api/admin/submissions"
    tags = ("Admin: boss battles",)
    guards = (requires_staff,)
    dependencies = {
        "submissions": Provide(provide_submission_reads, sync_to_thread=False),
        "service": Provide(provide_grading_service, sync_to_thread=False),
    }

    @fast_get("/", dependencies={"wanted": Provide(provide_filter, sync_to_thread=False)})
    async def list_submissions(
        self,
        wanted: NamedDependency[SubmissionFilter],
        submissions: NamedDependency[SubmissionReadRepository],
        limit: Annotated[int, QueryParameter(ge=1, le=100)] = 50,
        cursor: Annotated[UUID | None, QueryParameter(description="The next_cursor of the page before")] = None,
    ) -> Page[QueuedSubmission]:
        """Submissions: with `status=pending` the oldest first, in all other lists the newest first."""
        return await submissions.get_queue(wanted, limit=limit, cursor=cursor)

    @post("/{submission_id:uuid}/grade", status_code=200, responses=raises(404, 409))
    async def grade_submission(
        self,
        submission_id: FromPath[UUID],
        data: JSONBody[Grade],
        principal: NamedDependency[Principal],
        service: NamedDependency[GradingService],
    ) -> GradedSubmission:
        """Approve or reject a pending submission, once; approving completes the lesson and pays its XP."""
        return await service.grade(submission_id, data, principal)
