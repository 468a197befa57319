"""What goes in and out of uploads."""

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
    """Which lesson's video is asked about."""

    lesson_id: UUID


class VideoState(Output):
    """How a lesson's newest video stands; `message` is for the person."""

    status: Literal["ready", "processing", "waiting", "error", "none"]
    playback_id: str | None
    asset_id: str | None
    message: str


class AssetDeletion(Output):
    """Whether an asset is gone at Mux, or will be as soon as Mux lets it."""

    status: Literal["deleted", "pending"]
    message: str


class AssetExistence(Output):
    """Whether Mux has an asset."""

    exists: bool
    asset_id: str


class Received(Output):
    """An event was stored, with its effect."""

    status: Literal["ok"] = "ok"
