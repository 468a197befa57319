"""The errors of the application. `web.error_handlers` turns each into a problem document.

MamboError 500
├── MalformedRequest 400
├── NotSignedIn 401
├── NotAllowed 403
├── NotFound 404
├── Conflict 409
├── WrongMediaType 415
├── Invalid 422
├── TooMany 429
├── DependencyFailed 502
├── Unavailable 503
└── DependencyTimedOut 504
"""

from typing import ClassVar

from msgspec import Struct


class FieldProblem(Struct, frozen=True):
    """What is wrong with one field of a body or one parameter: `message` follows the field's name in a sentence."""

    field: str
    message: str
    code: str


class MamboError(Exception):
    """The base of all errors. `detail` is a sentence for a person, which says what to do."""

    status: ClassVar[int] = 500
    code: ClassVar[str] = "internal_error"
    headers: ClassVar[dict[str, str]] = {}

    def __init__(self, detail: str, *, code: str | None = None, errors: list[FieldProblem] | None = None) -> None:
        super().__init__(detail)
        self.detail = detail
        self.problem_code = code or self.code
        self.errors = errors or []


class MalformedRequest(MamboError):
    """The request cannot be parsed."""

    status, code = 400, "malformed_request"


class NotSignedIn(MamboError):
    """There are no valid credentials."""

    status, code = 401, "not_signed_in"
    headers: ClassVar[dict[str, str]] = {"WWW-Authenticate": "Bearer"}

    def __init__(self, detail: str = "Sign in to do this.") -> None:
        super().__init__(detail)


class NotAllowed(MamboError):
    """The person is signed in, and may not do this."""

    status, code = 403, "not_allowed"


class NotFound(MamboError):
    """The object does not exist, or this person may not see it; a client cannot tell which."""

    status, code = 404, "not_found"

    def __init__(self, what: str, *, code: str | None = None) -> None:
        super().__init__(f"There is no such {what}.", code=code)


class Conflict(MamboError):
    """The request is valid, and contradicts what is stored."""

    status, code = 409, "conflict"


class WrongMediaType(MamboError):
    """The media type of the body is not supported."""

    status, code = 415, "wrong_media_type"


class Invalid(MamboError):
    """A body or parameter fails validation."""

    status, code = 422, "invalid"

    @classmethod
    def field(cls, field: str, message: str, code: str = "invalid_value") -> "Invalid":
        """Return the error of one field; `message` completes a sentence that begins with the field's name."""
        return cls(f"{field} {message}.", errors=[FieldProblem(field, message, code)])


class TooMany(MamboError):
    """A rate limit is reached; `window` and `retry_after` are in seconds."""

    status, code = 429, "too_many"

    def __init__(self, detail: str, *, policy: str, limit: int, window: int, retry_after: int) -> None:
        super().__init__(detail)
        # The last two are those of draft-ietf-httpapi-ratelimit-headers: quota and window; remaining and seconds left.
        self.headers = {  # type: ignore[misc]
            "Retry-After": str(retry_after),
            "RateLimit-Policy": f'"{policy}";q={limit};w={window}',
            "RateLimit": f'"{policy}";r=0;t={retry_after}',
        }


class DependencyFailed(MamboError):
    """A service that this one depends on refused the request, or returned something unusable."""

    status, code = 502, "dependency_failed"


class Unavailable(MamboError):
    """A service that this one depends on is missing or busy; a client may retry after `retry_after` seconds."""

    status, code = 503, "unavailable"

    def __init__(self, detail: str, *, code: str | None = None, retry_after: int = 2) -> None:
        super().__init__(detail, code=code)
        self.headers = {"Retry-After": str(retry_after)}  # type: ignore[misc]


class DependencyTimedOut(MamboError):
    """A service that this one depends on did not respond in time."""

    status, code = 504, "dependency_timed_out"


def invalid(problems: list[FieldProblem]) -> Invalid:
    """Return one error for several fields."""
    return Invalid(" ".join(f"{problem.field} {problem.message}." for problem in problems), errors=problems)
