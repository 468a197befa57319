"""`/api/submissions`: a learner's videos for boss battles."""

from typing import Any

from litestar import Controller, Request, get, post
from litestar.di import NamedDependency, Provide
from litestar.params import JSONBody

from mambo.limits.rules import SUBMISSION_UPLOAD
from mambo.settings import Settings
from mambo.submissions.schemas import OwnSubmission, SubmissionRequest, UploadRequest
from mambo.submissions.service import SubmissionService, begin_upload, provide_submission_service
from mambo.videos.admin_controller import VENDOR, cors_origin
from mambo.videos.schemas import StartedUpload
from mambo.videos.service import VideoService, provide_video_service
from mambo.web.guards import requires_user
from mambo.web.openapi import raises
from mambo.web.principal import Principal


class SubmissionController(Controller):
    path = "/api/submissions"
    tags = ("Boss battles",)
    guards = (requires_user,)
    dependencies = {"submissions": Provide(provide_submission_service), "videos": Provide(provide_video_service)}

    @post("/submit", responses=raises(403, 404, 409))
    async def submit(
        self,
        data: JSONBody[SubmissionRequest],
        principal: NamedDependency[Principal],
        submissions: NamedDependency[SubmissionService],
    ) -> OwnSubmission:
        """Send a video of oneself for a boss battle; an uploaded one may still be on its way."""
        return await submissions.submit(data, principal)

    @get("/my-submissions")
    async def list_own_submissions(
        self, principal: NamedDependency[Principal], submissions: NamedDependency[SubmissionService]
    ) -> list[OwnSubmission]:
        """One's own submissions, the newest first, a hundred at most."""
        return await submissions.get_own(principal)

    @post(
        "/upload-url",
        rate_limit=SUBMISSION_UPLOAD,
        status_code=200,
        responses=raises(403, 404, 409, 429) | VENDOR,
    )
    async def start_submission_upload(
        self,
        request: Request[Any, Any, Any],
        settings: NamedDependency[Settings],
        data: JSONBody[UploadRequest],
        principal: NamedDependency[Principal],
        videos: NamedDependency[VideoService],
    ) -> StartedUpload:
        """Where to PUT a video of oneself, whole or in chunks, of ten minutes at most; then submit its `upload_id`."""
        return await begin_upload(videos, data, principal, cors_origin(request, settings.allowed_origins))
