"""Request and response bodies of video uploads."""

from typing import Annotated, Literal
from uuid import UUID

from msgspec import Meta

from mambo.web.schemas import Input, Output, RequiredLine


class VideoRequest(Input):
    """A video to upload, for a lesson or for none yet."""

    lesson_id: UUID | None = None
    filename: Annotated[RequiredLine, Meta(examples=["basic step.mp4"])] | None = None


class StartedUpload(Output):
    """Where to PUT the video, whole or in chunks; `upload_id` is Mux's."""

    upload_id: str
    upload_url: str
    status: Literal["waiting"] = "waiting"


class StatusRequest(Input):
    """The lesson whose video is checked."""

    lesson_id: UUID


class VideoState(Output):
    """The state of a lesson's newest video; `message` is a sentence for a person."""

    status: Literal["ready", "processing", "waiting", "error", "none"]
    playback_id: str | None
    asset_id: str | None
    message: str


class AssetDeletion(Output):
    """Whether an asset is deleted at Mux, or will be deleted later."""

    status: Literal["deleted", "pending"]
    message: str


class AssetExistence(Output):
    """Whether an asset exists at Mux."""

    exists: bool
    asset_id: str


class Received(Output):
    """The event is stored, with its effect."""

    status: Literal["ok"] = "ok"
