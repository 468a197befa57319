"""How what is known of a video grows, whatever the order in which Mux tells it, and how a person is told."""

from functools import partial

from msgspec import Struct, structs

from mambo.adapters.mux_events import MuxEvent
from mambo.adapters.video import Asset, UploadStatus
from mambo.courses.models import Lesson
from mambo.videos.models import LIVE, VideoStatus, VideoUpload
from mambo.videos.schemas import VideoState

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
LONGEST_SECONDS = 600
TOO_LONG = "It is longer than 10 minutes."
STATUS_OF_ASSET = {"ready": VideoStatus.READY, "errored": VideoStatus.ERRORED}
REASONS = {
    VideoStatus.TIMED_OUT: "It was not uploaded in time.",
    VideoStatus.CANCELLED: "Its upload was cancelled.",
    VideoStatus.ERRORED: "Mux does not say why.",
    VideoStatus.DELETED: "It was deleted.",
}
STATUS_AT_MUX = {
    UploadStatus.WAITING: VideoStatus.WAITING,
    UploadStatus.ASSET_CREATED: VideoStatus.ASSET_CREATED,
    UploadStatus.ERRORED: VideoStatus.ERRORED,
    UploadStatus.CANCELLED: VideoStatus.CANCELLED,
    UploadStatus.TIMED_OUT: VideoStatus.TIMED_OUT,
    UploadStatus.UNKNOWN: VideoStatus.WAITING,
}


class VideoUpdate(Struct, frozen=True):
    """What is known of a video, or what Mux says of it now; None is what is not said."""

    status: VideoStatus
    mux_upload_id: str | None = None
    asset_id: str | None = None
    playback_id: str | None = None
    duration_seconds: float | None = None
    error: str | None = None


def merged(known: VideoUpdate, news: VideoUpdate) -> VideoUpdate:
    """Add news to what is known: the same whatever the order, and however often each is added.

    The later rank wins, so nothing moves back: `ready` stays when an old `errored` or `preparing` comes late, and
    `deleted` is the end. A value once known stays.
    """
    errors = [error for error in (known.error, news.error) if error]
    return VideoUpdate(
        status=max(known.status, news.status, key=RANK.__getitem__),
        mux_upload_id=known.mux_upload_id or news.mux_upload_id,
        asset_id=known.asset_id or news.asset_id,
        playback_id=known.playback_id or news.playback_id,
        duration_seconds=known.duration_seconds or news.duration_seconds,
        error=min(errors, default=None),  # of two words for one failure, the same in any order
    )


def is_too_long(known: VideoUpdate) -> bool:
    """Whether a video is longer than a learner's may be."""
    return known.status is VideoStatus.READY and (known.duration_seconds or 0) > LONGEST_SECONDS


def refused(known: VideoUpdate) -> VideoUpdate:
    """The same for a video that is too long: as good as one that failed."""
    return structs.replace(known, status=VideoStatus.ERRORED, error=TOO_LONG)


def concerns(known: VideoUpdate, news: VideoUpdate) -> bool:
    """Whether the news are of this very upload and asset, as far as both are known."""
    pairs = ((known.mux_upload_id, news.mux_upload_id), (known.asset_id, news.asset_id))
    return all(ours is None or theirs is None or ours == theirs for ours, theirs in pairs)


def update_from_event(event: MuxEvent) -> VideoUpdate | None:
    """What an event says of a video; None when it is of no concern here."""
    status = STATUS_OF_EVENT.get(event.type)
    if status is None or (event.upload_id is None and event.asset_id is None):
        return None
    status = playable(status, event.playback_id)
    return VideoUpdate(status, event.upload_id, event.asset_id, event.playback_id, event.duration_seconds, event.error)


def update_from_asset(asset: Asset, mux_upload_id: str) -> VideoUpdate:
    """What Mux answers of an asset."""
    status = playable(STATUS_OF_ASSET.get(asset.status, VideoStatus.PREPARING), asset.playback_id)
    return VideoUpdate(status, mux_upload_id, asset.id, asset.playback_id, asset.duration_seconds, asset.error)


def playable(status: VideoStatus, playback_id: str | None) -> VideoStatus:
    """A video that nobody could play, for lack of a playback id, is not ready."""
    return VideoStatus.PREPARING if status is VideoStatus.READY and playback_id is None else status


def state_of(upload: VideoUpload | None, lesson: Lesson) -> VideoState:
    """What the person who waits for a video is told: of the newest upload, or once that is over, of the lesson."""
    if upload is not None and upload.status in (*LIVE, VideoStatus.ERRORED):
        return state_of_upload(upload)
    if lesson.mux_playback_id is not None:
        return VideoState(
            status="ready",
            playback_id=lesson.mux_playback_id,
            asset_id=lesson.mux_asset_id,
            message="The video is ready.",
        )
    return VideoState(status="none", playback_id=None, asset_id=None, message="This lesson has no video.")


def state_of_upload(upload: VideoUpload | VideoUpdate) -> VideoState:
    """What whoever waits for an upload is told of it."""
    told = partial(VideoState, playback_id=None, asset_id=upload.asset_id)
    match upload.status:
        case VideoStatus.WAITING:
            return told(status="waiting", message="The video has not been uploaded yet.")
        case VideoStatus.ASSET_CREATED | VideoStatus.PREPARING:
            return told(status="processing", message="The video is being prepared.")
        case VideoStatus.READY:
            return told(status="ready", message="The video is ready.", playback_id=upload.playback_id)
    return told(status="error", message=f"The video cannot be used: {upload.error or REASONS[upload.status]}")
