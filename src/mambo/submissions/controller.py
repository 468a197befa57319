"""`/api/submissions`: a learner's videos for boss battles."""

from typing import Any

from litestar import Controller, Request, post
from litestar.di import NamedDependency, Provide
from litestar.params import JSONBody

from mambo.limits.rules import SUBMISSION_UPLOAD
from mambo.settings import Settings
from mambo.submissions.repository import SubmissionReadRepository, provide_submission_reads
from mambo.submissions.schemas import OwnSubmission, SubmissionRequest, UploadRequest
from mambo.submissions.service import (
    SubmissionService,
    SubmissionUploadService,
    provide_submission_service,
    provide_submission_upload_service,
)
from mambo.videos.admin_controller import VENDOR, cors_origin
from mambo.videos.schemas import StartedUpload
from mambo.videos.service import provide_video_service
from mambo.web.guards import requires_user
from mambo.web.handlers import fast_get
from mambo.web.openapi import raises
from mambo.web.principal import Principal


class SubmissionController(Controller):
    path = "/api/submissions"
    tags = ("Boss battles",)
    guards = (requires_user,)
    dependencies = {
        "submissions": Provide(provide_submission_reads, sync_to_thread=False),
        "service": Provide(provide_submission_service, sync_to_thread=False),
        "videos": Provide(provide_video_service, sync_to_thread=False),
        "uploads": Provide(provide_submission_upload_service, sync_to_thread=False),
    }

    @post("/submit", responses=raises(403, 404, 409))
    async def submit(
        self,
        data: JSONBody[SubmissionRequest],
        principal: NamedDependency[Principal],
        service: NamedDependency[SubmissionService],
    ) -> OwnSubmission:
        """Submit a video of yourself for a boss battle; an uploaded one may still be in processing."""
        return await service.submit(data, principal)

    @fast_get("/my-submissions")
    async def list_own_submissions(
        self, principal: NamedDependency[Principal], submissions: NamedDependency[SubmissionReadRepository]
    ) -> list[OwnSubmission]:
        """Your own submissions, the newest first, a hundred at most."""
        return await submissions.get_own(principal.user_id)

    @post(
        "/upload-url",
        rate_limit=SUBMISSION_UPLOAD,
        status_code=200,
        responses=raises(403, 404, 409) | VENDOR,
    )
    async def start_submission_upload(
        self,
        request: Request[Any, Any, Any],
        settings: NamedDependency[Settings],
        data: JSONBody[UploadRequest],
        principal: NamedDependency[Principal],
        uploads: NamedDependency[SubmissionUploadService],
    ) -> StartedUpload:
        """Get an address to PUT a video of yourself to, of ten minutes at most; then submit its `upload_id`."""
        return await uploads.begin(data, principal, cors_origin(request, settings.allowed_origins))
