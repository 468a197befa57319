"""`/api/admin/submissions`: what learners sent for boss battles, for staff to grade."""

from typing import Annotated
from uuid import UUID

from litestar import Controller, get, post
from litestar.di import NamedDependency, Provide
from litestar.params import FromPath, JSONBody, QueryParameter

from mambo.submissions.models import SubmissionStatus
from mambo.submissions.repository import SubmissionFilter
from mambo.submissions.schemas import Grade, GradedSubmission, QueuedSubmission
from mambo.submissions.service import SubmissionService, provide_submission_service
from mambo.web.guards import requires_staff
from mambo.web.openapi import raises
from mambo.web.principal import Principal
from mambo.web.schemas import STORABLE, Page


async def provide_wanted(
    status: Annotated[SubmissionStatus | None, QueryParameter()] = None,
    lesson_id: Annotated[UUID | None, QueryParameter()] = None,
    world_id: Annotated[UUID | None, QueryParameter()] = None,
    user_id: Annotated[UUID | None, QueryParameter(description="The learner")] = None,
    search: Annotated[
        str | None, QueryParameter(max_length=200, pattern=STORABLE, description="Part of the learner's name")
    ] = None,
) -> SubmissionFilter:
    return SubmissionFilter(status, lesson_id, world_id, user_id, search)


class SubmissionAdminController(Controller):
    path = "/api/admin/submissions"
    tags = ("Admin: boss battles",)
    guards = (requires_staff,)
    dependencies = {"submissions": Provide(provide_submission_service)}

    @get("/", dependencies={"wanted": Provide(provide_wanted)})
    async def list_submissions(
        self,
        wanted: NamedDependency[SubmissionFilter],
        submissions: NamedDependency[SubmissionService],
        limit: Annotated[int, QueryParameter(ge=1, le=100)] = 50,
        cursor: Annotated[UUID | None, QueryParameter(description="The next_cursor of the page before")] = None,
    ) -> Page[QueuedSubmission]:
        """Submissions, the newest first; of `status=pending` the oldest, for it is a queue."""
        return await submissions.get_queue(wanted, limit=limit, cursor=cursor)

    @post("/{submission_id:uuid}/grade", status_code=200, responses=raises(404, 409))
    async def grade_submission(
        self,
        submission_id: FromPath[UUID],
        data: JSONBody[Grade],
        principal: NamedDependency[Principal],
        submissions: NamedDependency[SubmissionService],
    ) -> GradedSubmission:
        """Approve or reject a pending submission, once; approving completes the lesson and pays its XP."""
        return await submissions.grade(submission_id, data, principal)
