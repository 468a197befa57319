"""`/api/mux`: lessons' videos, for admins."""

from collections.abc import Sequence
from typing import Annotated, Any
from uuid import UUID

from litestar import Controller, Request, delete, get, post
from litestar.di import NamedDependency, Provide
from litestar.params import FromPath, JSONBody, QueryParameter

from mambo.errors import Invalid
from mambo.limits.rules import VIDEO_UPLOAD
from mambo.settings import Settings
from mambo.videos.schemas import AssetDeletion, AssetExistence, StartedUpload, StatusRequest, VideoRequest, VideoState
from mambo.videos.service import VideoService, provide_video_service
from mambo.web.guards import requires_admin, requires_staff
from mambo.web.openapi import raises
from mambo.web.principal import Principal
from mambo.web.schemas import LINE

LessonId = Annotated[UUID | None, QueryParameter(description="The lesson, if the body does not contain it")]
Filename = Annotated[
    str | None,
    QueryParameter(max_length=200, pattern=LINE, description="The filename, if the body does not contain it"),
]
VENDOR = raises(502, 503, 504)


class VideoController(Controller):
    path = "/api/mux"
    tags = ("Video",)
    dependencies = {"videos": Provide(provide_video_service, sync_to_thread=False)}

    @post(
        "/upload-url",
        guards=[requires_admin],
        rate_limit=VIDEO_UPLOAD,
        status_code=200,
        responses=raises(404) | VENDOR,
    )
    async def start_upload(
        self,
        request: Request[Any, Any, Any],
        settings: NamedDependency[Settings],
        videos: NamedDependency[VideoService],
        principal: NamedDependency[Principal],
        data: JSONBody[VideoRequest | None] = None,
        lesson_id: LessonId = None,
        filename: Filename = None,
    ) -> StartedUpload:
        """Start the upload of a lesson's new video; the old one stays until the new one is ready."""
        body = data or VideoRequest()
        wanted = VideoRequest(lesson_id=body.lesson_id or lesson_id, filename=body.filename or filename)
        return await videos.start_upload(wanted, principal.user_id, cors_origin(request, settings.allowed_origins))

    @post("/check-upload-status", guards=[requires_admin], status_code=200, responses=raises(404) | VENDOR)
    async def check_upload(
        self,
        videos: NamedDependency[VideoService],
        data: JSONBody[StatusRequest | None] = None,
        lesson_id: LessonId = None,
    ) -> VideoState:
        """Get the state of a lesson's newest video, after asking Mux."""
        lesson_id = data.lesson_id if data else lesson_id
        if lesson_id is None:
            raise Invalid.field("lesson_id", "is required", "missing")
        return await videos.check(lesson_id)

    @delete("/asset/{asset_id:str}", guards=[requires_admin], status_code=200, responses=VENDOR)
    async def delete_asset(self, asset_id: FromPath[str], videos: NamedDependency[VideoService]) -> AssetDeletion:
        """Delete a video at Mux; if Mux fails, it is deleted later."""
        return await videos.delete_asset(asset_id)

    @get("/asset/{asset_id:str}/exists", guards=[requires_staff], responses=VENDOR)
    async def asset_exists(self, asset_id: FromPath[str], videos: NamedDependency[VideoService]) -> AssetExistence:
        """Check whether a video exists at Mux."""
        return await videos.asset_exists(asset_id)


def cors_origin(request: Request[Any, Any, Any], origins: Sequence[str]) -> str:
    """Return the one web origin that may PUT the file: the request's if it is one of ours, else our first."""
    origin = request.headers.get("origin", "")
    return origin if origin in origins else next(iter(origins), "*")
