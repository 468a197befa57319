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

from http import HTTPStatus
from typing import Any, ClassVar

import msgspec
import structlog
from litestar import Request, Response
from litestar.exceptions import HTTPException, ValidationException
from litestar.handlers import HTTPRouteHandler
from msgspec import Struct

from mambo.validation import ABSENT_BODY, FieldProblem, describe, is_body_required

log = structlog.get_logger(__name__)

PROBLEM_JSON = "application/problem+json"


class Problem(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Why a request failed; `detail` is a sentence for the person, `code` a stable word for the program."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    request_id: str
    errors: list[FieldProblem] = []


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


def on_error(request: Request[Any, Any, Any], error: Exception) -> Response[Problem]:
    """Answer any exception; what nobody foresaw is logged with its traceback and tells the client nothing."""
    handler = request.scope.get("route_handler")
    parameters = handler.parsed_fn_signature.parameters if isinstance(handler, HTTPRouteHandler) else {}
    known = as_mambo_error(error, {name: parameter.annotation for name, parameter in parameters.items()})
    if known is None:
        log.error("unexpected error", exc_info=error)
        known = MamboError("Something went wrong on our side. Try again; if it stays, report the request id.")
    return problem_response(request, known)


def problem_response(request: Request[Any, Any, Any], error: MamboError) -> Response[Problem]:
    problem = Problem(
        type="about:blank",
        title=HTTPStatus(error.status).phrase,
        status=error.status,
        detail=error.detail,
        code=error.problem_code,
        request_id=request.scope["state"]["request_id"],
        errors=error.errors,
    )
    return Response(problem, status_code=error.status, headers=error.headers, media_type=PROBLEM_JSON)


async def require_json(request: Request[Any, Any, Any]) -> None:
    """Refuse a body that says it is something else than JSON where JSON is read.

    Raises:
        WrongMediaType: the body's type is named and is not JSON.

    """
    if "data" not in request.route_handler.parsed_fn_signature.parameters:
        return
    media_type, _ = request.content_type
    if media_type not in {"", "application/json"}:
        raise WrongMediaType(f"This address reads application/json, not {media_type}: set the Content-Type header.")


def as_mambo_error(error: Exception, annotations: dict[str, Any]) -> MamboError | None:
    """Translate what Litestar, msgspec and Python raise; None for a bug."""
    match error:
        case MamboError():
            return error
        case ValidationException(extra=[_, *_] as extra):
            # Litestar drops the path into a body that is a list; msgspec's own message still has it.
            _, _, in_list = str(error.__cause__).partition(" - at `$.data[")
            path = f"data.[{in_list.rstrip('`')}" if in_list else None
            # It also reports an absent body that may be absent, where a parameter is wrong.
            told = [problem for problem in extra if problem["message"] != ABSENT_BODY or is_body_required(annotations)]
            return invalid([describe(path or p.get("key", ""), p["message"], annotations) for p in told])
        case msgspec.ValidationError():
            message, _, path = str(error).partition(" - at `$")
            return invalid([describe(path.strip(".`"), message, annotations)])
        case msgspec.DecodeError() | RecursionError():
            return MalformedRequest("The body is not readable JSON: check its syntax, encoding and depth.")
        case HTTPException(status_code=status) if status < HTTPStatus.INTERNAL_SERVER_ERROR:
            return from_http_exception(error)
    return None


def from_http_exception(error: HTTPException) -> MamboError:
    sentences = {
        400: "The request is not readable: check the syntax of the body, the parameters and the headers.",
        404: "There is nothing at this address.",
        405: "This address does not take this method: see the Allow header.",
        413: "The body is too large: 1 MB is the most.",
    }
    known = MamboError(sentences.get(error.status_code, error.detail), code=HTTPStatus(error.status_code).name.lower())
    known.status = error.status_code  # type: ignore[misc]
    known.headers = dict(error.headers or {})  # type: ignore[misc]
    return known


def invalid(problems: list[FieldProblem]) -> Invalid:
    return Invalid(" ".join(f"{problem.field} {problem.message}." for problem in problems), errors=problems)
