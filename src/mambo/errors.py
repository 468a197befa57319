"""What can go wrong, as nouns, and the one place that turns it into a response (RFC 9457 problem details).

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
    """What is wrong with one field of a body or one parameter."""

    field: str
    message: str
    code: str


class MamboError(Exception):
    """A request cannot be served; `detail` is one sentence that says what to do."""

    status: ClassVar[int] = 500
    code: ClassVar[str] = "internal_error"
    headers: ClassVar[dict[str, str]] = {}

    def __init__(self, detail: str, *, code: str | None = None, errors: list[FieldProblem] | None = None) -> None:
        super().__init__(detail)
        self.detail = detail
        self.problem_code = code or self.code
        self.errors = errors or []


class MalformedRequest(MamboError):
    """The request cannot be read at all."""

    status, code = 400, "malformed_request"


class NotSignedIn(MamboError):
    """No credentials, or none that count."""

    status, code = 401, "not_signed_in"
    headers: ClassVar[dict[str, str]] = {"WWW-Authenticate": "Bearer"}

    def __init__(self, detail: str = "Sign in to do this.") -> None:
        super().__init__(detail)


class NotAllowed(MamboError):
    """The person is known, and may not do this."""

    status, code = 403, "not_allowed"


class NotFound(MamboError):
    """Absent, or not this person's to see: the two look the same."""

    status, code = 404, "not_found"

    def __init__(self, what: str, *, code: str | None = None) -> None:
        super().__init__(f"There is no such {what}.", code=code)


class Conflict(MamboError):
    """The request is fine by itself and contradicts what is stored."""

    status, code = 409, "conflict"


class WrongMediaType(MamboError):
    """The body is of a type that is not read here."""

    status, code = 415, "wrong_media_type"


class Invalid(MamboError):
    """A body or parameter fails validation."""

    status, code = 422, "invalid"

    @classmethod
    def field(cls, field: str, message: str, code: str = "invalid_value") -> "Invalid":
        """One field is wrong: `message` completes a sentence that begins with its name."""
        return cls(f"{field} {message}.", errors=[FieldProblem(field, message, code)])


class TooMany(MamboError):
    """A limit is reached; `retry_after` seconds later it is not, for a while."""

    status, code = 429, "too_many"

    def __init__(self, detail: str, *, policy: str, limit: int, window: int, retry_after: int) -> None:
        super().__init__(detail)
        # The last two as in draft-ietf-httpapi-ratelimit-headers: quota and window, what is left and until when.
        self.headers = {  # type: ignore[misc]
            "Retry-After": str(retry_after),
            "RateLimit-Policy": f'"{policy}";q={limit};w={window}',
            "RateLimit": f'"{policy}";r=0;t={retry_after}',
        }


class DependencyFailed(MamboError):
    """A service this one depends on refused, or answered what cannot be used."""

    status, code = 502, "dependency_failed"


class Unavailable(MamboError):
    """Something this service needs is missing or busy; trying again after `retry_after` seconds may help."""

    status, code = 503, "unavailable"

    def __init__(self, detail: str, *, code: str | None = None, retry_after: int = 2) -> None:
        super().__init__(detail, code=code)
        self.headers = {"Retry-After": str(retry_after)}  # type: ignore[misc]


class DependencyTimedOut(MamboError):
    """A service this one depends on did not answer in time."""

    status, code = 504, "dependency_timed_out"


def invalid(problems: list[FieldProblem]) -> Invalid:
    return Invalid(" ".join(f"{problem.field} {problem.message}." for problem in problems), errors=problems)
