"""How the known state of a video changes with each update from Mux, in any order, and what a person sees of it."""

import enum
from functools import partial

from msgspec import Struct, structs

from mambo.adapters.mux_events import MuxEvent
from mambo.adapters.video import Asset, UploadState, UploadStatus
from mambo.videos.schemas import VideoState


class VideoStatus(enum.StrEnum):
    """The status of a video, ordered by rank: it only changes to a status of a higher rank, see `merge`."""

    WAITING = "waiting"
    TIMED_OUT = "timed_out"
    CANCELLED = "cancelled"
    ASSET_CREATED = "asset_created"
    PREPARING = "preparing"
    ERRORED = "errored"
    READY = "ready"
    DELETED = "deleted"


LIVE = (VideoStatus.WAITING, VideoStatus.ASSET_CREATED, VideoStatus.PREPARING)
FINAL = (VideoStatus.READY, VideoStatus.DELETED)
FAILED = (VideoStatus.TIMED_OUT, VideoStatus.CANCELLED, VideoStatus.ERRORED, VideoStatus.DELETED)
RANK = {status: rank for rank, status in enumerate(VideoStatus)}
STATUS_OF_EVENT = {
    "video.upload.created": VideoStatus.WAITING,
    "video.upload.asset_created": VideoStatus.ASSET_CREATED,
    "video.upload.cancelled": VideoStatus.CANCELLED,
    "video.upload.errored": VideoStatus.ERRORED,
    "video.asset.created": VideoStatus.PREPARING,
    "video.asset.ready": VideoStatus.READY,
    "video.asset.errored": VideoStatus.ERRORED,
    "video.asset.deleted": VideoStatus.DELETED,
}
STATUS_OF_UPLOAD = {
    UploadStatus.WAITING: VideoStatus.WAITING,
    UploadStatus.ASSET_CREATED: VideoStatus.ASSET_CREATED,
    UploadStatus.ERRORED: VideoStatus.ERRORED,
    UploadStatus.CANCELLED: VideoStatus.CANCELLED,
    UploadStatus.TIMED_OUT: VideoStatus.TIMED_OUT,
    UploadStatus.UNKNOWN: VideoStatus.WAITING,
}
STATUS_OF_ASSET = {"ready": VideoStatus.READY, "errored": VideoStatus.ERRORED}
REASONS = {
    VideoStatus.TIMED_OUT: "It was not uploaded in time.",
    VideoStatus.CANCELLED: "Its upload was cancelled.",
    VideoStatus.ERRORED: "Mux does not say why.",
    VideoStatus.DELETED: "It was deleted.",
}
MAX_LEARNER_SECONDS = 600
TOO_LONG = "It is longer than 10 minutes."


class VideoUpdate(Struct, frozen=True):
    """The known state of a video, or what one report of Mux contains; what is not known is None."""

    status: VideoStatus
    mux_upload_id: str | None = None
    asset_id: str | None = None
    playback_id: str | None = None
    duration_seconds: float | None = None
    error: str | None = None


def merge(known: VideoUpdate, update: VideoUpdate) -> VideoUpdate:
    """Return the known state after an update; updates can be merged in any order, and more than once.

    The status of the higher rank wins: a late `errored` or `preparing` does not replace `ready`, and nothing replaces
    `deleted`. A value that is known does not change.
    """
    errors = [error for error in (known.error, update.error) if error]
    return VideoUpdate(
        status=max(known.status, update.status, key=RANK.__getitem__),
        mux_upload_id=known.mux_upload_id or update.mux_upload_id,
        asset_id=known.asset_id or update.asset_id,
        playback_id=known.playback_id or update.playback_id,
        duration_seconds=known.duration_seconds or update.duration_seconds,
        error=min(errors, default=None),  # of two messages about one failure, the same in any order
    )


def is_same_video(known: VideoUpdate, update: VideoUpdate) -> bool:
    """Return whether an update is about this upload and asset; an id that one side does not know is not compared."""
    pairs = ((known.mux_upload_id, update.mux_upload_id), (known.asset_id, update.asset_id))
    return all(ours is None or theirs is None or ours == theirs for ours, theirs in pairs)


def is_too_long(known: VideoUpdate) -> bool:
    """Return whether a video is longer than a learner's video may be."""
    return known.status is VideoStatus.READY and (known.duration_seconds or 0) > MAX_LEARNER_SECONDS


def reject_as_too_long(known: VideoUpdate) -> VideoUpdate:
    """Return the state of a video that is too long: it counts as failed."""
    return structs.replace(known, status=VideoStatus.ERRORED, error=TOO_LONG)


def update_from_event(event: MuxEvent) -> VideoUpdate | None:
    """Return the update that an event contains; None for an event that is not about a video or upload."""
    status = STATUS_OF_EVENT.get(event.type)
    if status is None or (event.upload_id is None and event.asset_id is None):
        return None
    status = require_playback_id(status, event.playback_id)
    return VideoUpdate(status, event.upload_id, event.asset_id, event.playback_id, event.duration_seconds, event.error)


def update_from_upload(upload: UploadState) -> VideoUpdate:
    """Return the update that the state of an upload without an asset contains."""
    return VideoUpdate(STATUS_OF_UPLOAD[upload.status], upload.id, error=upload.error)


def update_from_asset(asset: Asset, mux_upload_id: str) -> VideoUpdate:
    """Return the update that an asset contains."""
    status = require_playback_id(STATUS_OF_ASSET.get(asset.status, VideoStatus.PREPARING), asset.playback_id)
    return VideoUpdate(status, mux_upload_id, asset.id, asset.playback_id, asset.duration_seconds, asset.error)


def require_playback_id(status: VideoStatus, playback_id: str | None) -> VideoStatus:
    """Return PREPARING in place of READY if there is no playback id, because nobody can play such a video."""
    return VideoStatus.PREPARING if status is VideoStatus.READY and playback_id is None else status


def state_of_lesson(newest: VideoUpdate | None, playback_id: str | None, asset_id: str | None) -> VideoState:
    """Return the state of a lesson's video: of its newest upload if that is live or failed, else of what it plays."""
    if newest is not None and newest.status in (*LIVE, VideoStatus.ERRORED):
        return state_of_upload(newest)
    if playback_id is not None:
        return VideoState(status="ready", playback_id=playback_id, asset_id=asset_id, message="The video is ready.")
    return VideoState(status="none", playback_id=None, asset_id=None, message="This lesson has no video.")


def state_of_upload(known: VideoUpdate) -> VideoState:
    """Return the state of an upload, with a sentence for a person."""
    state = partial(VideoState, playback_id=None, asset_id=known.asset_id)
    match known.status:
        case VideoStatus.WAITING:
            return state(status="waiting", message="The video has not been uploaded yet.")
        case VideoStatus.ASSET_CREATED | VideoStatus.PREPARING:
            return state(status="processing", message="The video is being prepared.")
        case VideoStatus.READY:
            return state(status="ready", message="The video is ready.", playback_id=known.playback_id)
    return state(status="error", message=f"The video cannot be used: {known.error or REASONS[known.status]}")
