"""How what is known of a video grows, whatever the order in which Mux tells it."""

from msgspec import Struct

from mambo.adapters.mux_events import MuxEvent
from mambo.adapters.video import Asset, UploadStatus
from mambo.media.models import VideoStatus

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
STATUS_OF_ASSET = {"ready": VideoStatus.READY, "errored": VideoStatus.ERRORED}
STATUS_AT_MUX = {
    UploadStatus.WAITING: VideoStatus.WAITING,
    UploadStatus.ASSET_CREATED: VideoStatus.ASSET_CREATED,
    UploadStatus.ERRORED: VideoStatus.ERRORED,
    UploadStatus.CANCELLED: VideoStatus.CANCELLED,
    UploadStatus.TIMED_OUT: VideoStatus.TIMED_OUT,
    UploadStatus.UNKNOWN: VideoStatus.WAITING,
}


class News(Struct, frozen=True):
    """What is known of a video, or what Mux says of it now; None is what is not said."""

    status: VideoStatus
    mux_upload_id: str | None = None
    asset_id: str | None = None
    playback_id: str | None = None
    duration_seconds: float | None = None
    error: str | None = None


def merged(known: News, news: News) -> News:
    """Add news to what is known: the same whatever the order, and however often each is added.

    The later rank wins, so nothing moves back: `ready` stays when an old `errored` or `preparing` comes late, and
    `deleted` is the end. A value once known stays.
    """
    errors = [error for error in (known.error, news.error) if error]
    return News(
        status=max(known.status, news.status, key=RANK.__getitem__),
        mux_upload_id=known.mux_upload_id or news.mux_upload_id,
        asset_id=known.asset_id or news.asset_id,
        playback_id=known.playback_id or news.playback_id,
        duration_seconds=known.duration_seconds or news.duration_seconds,
        error=min(errors, default=None),  # of two words for one failure, the same in any order
    )


def concerns(known: News, news: News) -> bool:
    """Whether the news are of this very upload and asset, as far as both are known."""
    pairs = ((known.mux_upload_id, news.mux_upload_id), (known.asset_id, news.asset_id))
    return all(ours is None or theirs is None or ours == theirs for ours, theirs in pairs)


def news_in(event: MuxEvent) -> News | None:
    """What an event says of a video; None when it is of no concern here."""
    status = STATUS_OF_EVENT.get(event.type)
    if status is None or (event.upload_id is None and event.asset_id is None):
        return None
    status = playable(status, event.playback_id)
    return News(status, event.upload_id, event.asset_id, event.playback_id, event.duration_seconds, event.error)


def news_of(asset: Asset, mux_upload_id: str) -> News:
    """What Mux answers of an asset."""
    status = playable(STATUS_OF_ASSET.get(asset.status, VideoStatus.PREPARING), asset.playback_id)
    return News(status, mux_upload_id, asset.id, asset.playback_id, asset.duration_seconds, asset.error)


def playable(status: VideoStatus, playback_id: str | None) -> VideoStatus:
    """A video that nobody could play, for lack of a playback id, is not ready."""
    return VideoStatus.PREPARING if status is VideoStatus.READY and playback_id is None else status
