"""`/api/submissions`: a learner's videos for boss battles."""

from typing import Any

from litestar import Controller, Request, get, post
from litestar.datastructures import State
from litestar.di import NamedDependency, Provide
from litestar.params import JSONBody

from mambo.guards import Principal, requires_user
from mambo.limits.rules import SUBMISSION_UPLOAD
from mambo.limits.service import limited
from mambo.media.admin_controller import VENDOR, cors_origin
from mambo.media.schemas import StartedUpload
from mambo.media.service import Videos, provide_videos
from mambo.openapi import raises
from mambo.submissions.schemas import OwnSubmission, SubmissionRequest, UploadRequest
from mambo.submissions.service import Submissions, begin_upload, provide_submissions


class SubmissionController(Controller):
    path = "/api/submissions"
    tags = ("Boss battles",)
    guards = (requires_user,)
    dependencies = {"submissions": Provide(provide_submissions), "videos": Provide(provide_videos)}

    @post("/submit", responses=raises(403, 404, 409))
    async def submit(
        self,
        data: JSONBody[SubmissionRequest],
        principal: NamedDependency[Principal],
        submissions: NamedDependency[Submissions],
    ) -> OwnSubmission:
        """Send a video of oneself for a boss battle; an uploaded one may still be on its way."""
        return await submissions.submit(data, principal)

    @get("/my-submissions")
    async def list_own_submissions(
        self, principal: NamedDependency[Principal], submissions: NamedDependency[Submissions]
    ) -> list[OwnSubmission]:
        """One's own submissions, the newest first, a hundred at most."""
        return await submissions.get_own(principal)

    @post(
        "/upload-url",
        guards=[limited(SUBMISSION_UPLOAD)],
        status_code=200,
        responses=raises(403, 404, 409, 429) | VENDOR,
    )
    async def start_submission_upload(
        self,
        request: Request[Any, Any, Any],
        state: State,
        data: JSONBody[UploadRequest],
        principal: NamedDependency[Principal],
        videos: NamedDependency[Videos],
    ) -> StartedUpload:
        """Where to PUT a video of oneself, whole or in chunks, of ten minutes at most; then submit its `upload_id`."""
        return await begin_upload(videos, data, principal, cors_origin(request, state))
