"""HTTP to Mux: limits on each response, and what each failure means."""

from contextlib import suppress
from http import HTTPStatus
from io import BytesIO
from math import ceil
from time import monotonic
from typing import TypeVar, cast

import msgspec
import urllib3
from msgspec import Struct
from urllib3.exceptions import HTTPError, InvalidHeader, NewConnectionError, ProtocolError, SSLError
from urllib3.exceptions import TimeoutError as RequestTimeout

from mambo.errors import DependencyFailed, DependencyTimedOut, MamboError, Unavailable

CONNECT_SECONDS = 2.0
MAX_BODY_BYTES = 1_000_000
MAX_RETRY_AFTER_SECONDS = 3600
MAX_BACKOFF_SECONDS = 0.5
MAX_COMPLAINT_LENGTH = 170
SUCCESSES, REFUSALS, OUTAGES = range(200, 300), range(400, 500), range(500, 600)
UNREACHABLE = "Mux cannot be reached. Try again in a moment."

T = TypeVar("T")


class Transport(urllib3.PoolManager):
    """Replaces the SDK's own, which reads without limits, and raises unrelated errors for unexpected responses."""

    def urlopen(  # type: ignore[override] # as the SDK calls it
        self, method: str, url: str, *, timeout: urllib3.Timeout, **options: object
    ) -> urllib3.HTTPResponse:
        """Return a successful response, with its whole body.

        Raises:
            Refusal: the response has another status.
            HTTPError, TimeoutError: the response was not complete in time.
            DependencyFailed: the body is larger than 1 MB.

        """
        seconds = cast("float", timeout.total)
        deadline = monotonic() + seconds
        timeout = urllib3.Timeout(total=seconds, connect=CONNECT_SECONDS)
        options |= {"timeout": timeout, "preload_content": False, "retries": False}
        try:
            response = super().urlopen(method, url, redirect=False, **options)
        except SSLError as error:
            raise ProtocolError(str(error)) from error  # the SDK raises AttributeError for an SSLError
        body = bytearray()
        try:
            # Each chunk is one read of the socket. A compressed body is not decoded, because none is requested.
            while chunk := response.read1(1 << 16, decode_content=False):
                body += chunk
                if len(body) > MAX_BODY_BYTES:
                    raise unusable()
                if monotonic() > deadline:
                    raise TimeoutError
        finally:
            response.close()
        if response.status not in SUCCESSES:
            raise Refusal(response.status, bytes(body), response.headers.get("Retry-After"))
        return urllib3.HTTPResponse(BytesIO(body), status=response.status)


class UnknownId(DependencyFailed):
    """Mux does not know the id."""


class CredentialsRefused(DependencyFailed):
    """Mux refuses the token, or returns 403 for another reason."""

    code = "video_credentials"


class Refusal(Exception):
    """A response whose status is no success; `retry_after` is in seconds."""

    def __init__(self, status: int, body: bytes, retry_after: str | None = None) -> None:
        super().__init__(status)  # only the status, because repr is logged
        self.status = status
        self.body = body
        self.retry_after: int | None = None
        with suppress(InvalidHeader, ValueError, OverflowError):
            if retry_after:
                self.retry_after = min(ceil(urllib3.Retry().parse_retry_after(retry_after)), MAX_RETRY_AFTER_SECONDS)


def is_outage(_kind: type[Exception], error: Exception) -> bool:
    """Return whether an error means that Mux is down, and not that it refused the request."""
    return isinstance(error, HTTPError | TimeoutError) or (isinstance(error, Refusal) and error.status in OUTAGES)


def may_retry(error: Exception, seconds_left: float) -> bool | float:
    """Return whether to retry, or the seconds to wait if Mux sent them; False if the deadline would come first."""
    match error:
        case Refusal(status=429 | 503, retry_after=int(seconds)):
            return float(seconds) if seconds < seconds_left else False
        case Refusal(status=status):
            return (status == HTTPStatus.TOO_MANY_REQUESTS or status in OUTAGES) and seconds_left > MAX_BACKOFF_SECONDS
        case HTTPError():
            return seconds_left > MAX_BACKOFF_SECONDS
    return False


def to_mambo_error(error: Exception) -> MamboError:
    """Return the error of a failed call, with a sentence for an admin."""
    match error:
        case Refusal(status=401 | 403) | UnicodeEncodeError():  # a token with such characters cannot be sent
            return CredentialsRefused("Mux refuses our credentials: check MUX_TOKEN_ID and MUX_TOKEN_SECRET.")
        case Refusal(status=429) | Refusal(status=503, retry_after=int()):
            return Unavailable(
                "Mux is busy. Try again in a moment.", code="video_busy", retry_after=error.retry_after or 2
            )
        case Refusal(status=status, body=body) if status in REFUSALS:
            complaint = complaint_in(body) or f"status {status}"
            is_unknown = status == HTTPStatus.NOT_FOUND or "Failed to parse ID" in complaint
            sentence = f"Mux refuses this: {complaint[:MAX_COMPLAINT_LENGTH].rstrip('. ')}."
            return UnknownId(sentence) if is_unknown else DependencyFailed(sentence)
        case Refusal():
            return unusable()
        case TimeoutError() | RequestTimeout() if not isinstance(error, NewConnectionError):
            return DependencyTimedOut("Mux did not respond in time. Try again in a moment.")
    return Unavailable(UNREACHABLE, code="video_unavailable")


def unusable() -> DependencyFailed:
    return DependencyFailed("Mux returned something unusable. Try again in a moment.")


def complaint_in(body: bytes) -> str:
    """Return Mux's error messages on one line, without unprintable characters; empty if there are none."""
    with suppress(DependencyFailed):
        words = " ".join(" ".join(decode(body, Complaint).error.messages or []).split())
        return "".join(character for character in words if character.isprintable())
    return ""


class Problems(Struct):
    messages: list[str] | None = None


class Complaint(Struct):
    error: Problems


def decode(body: bytes, kind: type[T]) -> T:
    """Decode Mux's JSON. Numbers may be strings, and times Unix seconds.

    Raises:
        DependencyFailed: the body does not have the shape of `kind`.

    """
    try:
        return msgspec.json.decode(body, type=kind, strict=False)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise unusable() from error
