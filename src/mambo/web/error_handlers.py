"""Exception handlers: every error becomes a problem document (RFC 9457)."""

from http import HTTPStatus
from typing import Any

import msgspec
import structlog
from litestar import Request, Response
from litestar.exceptions import HTTPException, ValidationException
from litestar.handlers import HTTPRouteHandler
from msgspec import Struct

from mambo.database.errors import translate_database_error
from mambo.errors import FieldProblem, MalformedRequest, MamboError, WrongMediaType, invalid
from mambo.web.validation import ABSENT_BODY, describe, is_body_required

log = structlog.get_logger(__name__)

PROBLEM_JSON = "application/problem+json"


class Problem(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Why a request failed: `detail` is a sentence for a person, `code` a stable word for a program."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    request_id: str
    errors: list[FieldProblem] = []


def on_error(request: Request[Any, Any, Any], error: Exception) -> Response[Problem]:
    """Return the response to an exception; an unexpected one is logged with its traceback and is a plain 500."""
    handler = request.scope.get("route_handler")
    parameters = handler.parsed_fn_signature.parameters if isinstance(handler, HTTPRouteHandler) else {}
    known = translate_exception(error, {name: parameter.annotation for name, parameter in parameters.items()})
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
    """Check the media type of a body that is read as JSON.

    Raises:
        WrongMediaType: the Content-Type header names another media type.

    """
    if "data" not in request.route_handler.parsed_fn_signature.parameters:
        return
    media_type, _ = request.content_type
    if media_type not in {"", "application/json"}:
        raise WrongMediaType(f"This address reads application/json, not {media_type}: set the Content-Type header.")


def translate_exception(error: Exception, annotations: dict[str, Any]) -> MamboError | None:
    """Return the error that an exception of Litestar, msgspec or Python means to the client; None for a bug.

    `annotations` are those of the handler's parameters.
    """
    match error:
        case MamboError():
            return error
        case ValidationException(extra=[_, *_] as extra):
            # Litestar drops the path into a body that is a list; msgspec's message has it.
            _, _, in_list = str(error.__cause__).partition(" - at `$.data[")
            path = f"data.[{in_list.rstrip('`')}" if in_list else None
            # Beside a wrong parameter it also reports an absent body where the body is optional.
            problems = [p for p in extra if p["message"] != ABSENT_BODY or is_body_required(annotations)]
            return invalid([describe(path or p.get("key", ""), p["message"], annotations) for p in problems])
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


def on_database_error(request: Request[Any, Any, Any], error: Exception) -> Response[Problem]:
    """Return the response to an error of the database, or of the connection to it."""
    known = translate_database_error(error)
    return problem_response(request, known) if known else on_error(request, error)
