"""Mux webhooks: the signature, and the event in the body. `video.py` is the client of Mux's API."""

import hmac
from datetime import datetime
from typing import Any

import msgspec
from msgspec import Struct, field

from mambo.errors import MalformedRequest

TOLERANCE_SECONDS = 300
MAX_TIME_DIGITS = 12


class MuxEvent(Struct, frozen=True):
    """One event; what it does not contain is None."""

    id: str
    type: str
    upload_id: str | None = None
    asset_id: str | None = None
    passthrough: str | None = None
    playback_id: str | None = None
    duration_seconds: float | None = None
    error: str | None = None


class BadSignature(MalformedRequest):
    """The webhook was not sent by Mux, was changed on the way, or is too old."""

    code = "bad_signature"


def check_signature(header: str | None, body: bytes, secrets: tuple[str, ...], now: datetime) -> None:
    """Check `Mux-Signature: t=<unix seconds>,v1=<hex HMAC-SHA256 of "t.body">`; any `v1` and any secret may match.

    Raises:
        BadSignature: no signature matches, or its time differs from `now` by more than 300 s.

    """
    parts = [part.strip().partition("=") for part in (header or "").split(",")]
    times = [value for name, _, value in parts if name == "t"]
    given = [value.encode() for name, _, value in parts if name == "v1"]
    if len(times) != 1 or not (times[0].isascii() and times[0].isdigit()) or len(times[0]) > MAX_TIME_DIGITS:
        raise BadSignature("The Mux-Signature header is missing or not readable.")
    signed = times[0].encode() + b"." + body
    expected = [hmac.digest(secret.encode(), signed, "sha256").hex().encode() for secret in secrets]
    # All pairs are compared, so that the time it takes does not depend on which one matches.
    matches = [hmac.compare_digest(one, other) for one in expected for other in given]
    if not any(matches):
        raise BadSignature("The Mux-Signature header does not fit the body: check MUX_WEBHOOK_SECRET.")
    if abs(now.timestamp() - int(times[0])) > TOLERANCE_SECONDS:
        raise BadSignature("The Mux-Signature header is older or newer than five minutes.")


def parse_event(body: bytes) -> MuxEvent:
    """Parse the body of a webhook; an event whose `data` has an unknown shape gets only its id and type.

    Raises:
        MalformedRequest: the body is not an event.

    """
    try:
        envelope = msgspec.json.decode(body, type=_Envelope)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise MalformedRequest("The body is not an event of Mux: it needs an id and a type.") from error
    try:
        return _to_event(envelope)
    except (msgspec.ValidationError, UnicodeDecodeError):
        return MuxEvent(envelope.id, envelope.type)


class _Settings(Struct):
    passthrough: str | None = None


class _Playback(Struct):
    id: str


class _UploadError(Struct):
    message: str | None = None


class _AssetErrors(Struct):
    messages: list[str] | None = None


class _Object(Struct):
    type: str | None = None
    id: str | None = None


class _Data(Struct):
    id: str | None = None
    asset_id: str | None = None
    upload_id: str | None = None
    passthrough: str | None = None
    new_asset_settings: _Settings | None = None
    playback_ids: list[_Playback] | None = None
    duration: float | None = None
    error: _UploadError | None = None
    errors: _AssetErrors | None = None


class _Envelope(Struct):
    id: str
    type: str
    object: Any = None
    data: Any = field(default=None)


def _to_event(envelope: _Envelope) -> MuxEvent:
    data = msgspec.convert(envelope.data or {}, _Data)
    about = msgspec.convert(envelope.object or {}, _Object)
    object_id = about.id or data.id
    if envelope.type.startswith("video.upload."):
        settings = data.new_asset_settings or _Settings()
        message = data.error.message if data.error else None
        return MuxEvent(envelope.id, envelope.type, object_id, data.asset_id, settings.passthrough, error=message)
    if envelope.type.startswith("video.asset.") and about.type in {None, "asset"}:
        return MuxEvent(
            envelope.id,
            envelope.type,
            data.upload_id,
            object_id,
            data.passthrough,
            data.playback_ids[0].id if data.playback_ids else None,
            data.duration,
            " ".join((data.errors and data.errors.messages) or []) or None,
        )
    return MuxEvent(envelope.id, envelope.type)
