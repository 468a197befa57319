"""The OpenAPI 3.1 document."""

from typing import TYPE_CHECKING, Any

import msgspec
from litestar import Litestar, Router
from litestar.openapi import OpenAPIConfig, ResponseSpec
from litestar.openapi.spec import Components, OAuthFlow, OAuthFlows, SecurityScheme
from litestar.serialization import encode_json

from mambo.web.error_handlers import PROBLEM_JSON, Problem
from mambo.web.guards import IGNORES_TOKEN, open_to_anyone, requires_admin, requires_staff

if TYPE_CHECKING:
    from collections.abc import Iterator

    from litestar.handlers import HTTPRouteHandler
    from litestar.types import Method
    from litestar.types.internal_types import PathParameterDefinition


MEANINGS = {
    400: "The request cannot be parsed",
    401: "Not signed in, or the sign-in has ended",
    403: "Not allowed",
    404: "Not found, or not visible to this person",
    409: "The request contradicts what is stored",
    413: "The body is too large",
    415: "The media type of the body is not supported",
    422: "A field or parameter fails validation",
    429: "Too many requests; see Retry-After",
    500: "Internal error",
    502: "A service that this one depends on failed",
    503: "A service that this one depends on is not available; see Retry-After",
    504: "A service that this one depends on did not respond in time",
}

TOKEN_URL = "/api/auth/token"  # noqa: S105 - an address

# Addresses that the first web client uses; new clients use the other address of the same handler.
DEPRECATED = {
    ("put", "/api/admin/courses/{course_id}"),
    ("put", "/api/admin/lessons/{lesson_id}"),
    ("get", "/api/admin/courses/{course_id}/full"),
    ("post", "/api/admin/levels/{level_id}/lessons"),
    ("get", "/api/admin/students"),
    ("post", "/api/progress/lessons/{lesson_id}/complete"),
    ("post", "/api/webhook"),
}
# An operation id is the handler's name, except for these second addresses.
OPERATION_IDS = {("get", "/api/auth/me"): "get_own_profile", ("get", "/health/live"): "live"}


def raises(*statuses: int) -> dict[int, ResponseSpec]:
    """Document errors of a route in addition to those that follow from its guards, parameters and body."""
    return {
        status: ResponseSpec(Problem, description=MEANINGS[status], media_type=PROBLEM_JSON, generate_examples=False)
        for status in statuses
    }


class Unrouted(Router):
    """Leaves out Litestar's own documentation routes, which respond to unknown addresses with HTML."""

    def register(self, value: object) -> list[Any]:
        del value
        return []


def openapi_config() -> OpenAPIConfig:
    return OpenAPIConfig(
        title="Mambo",
        version="0.1.0",
        description=(
            "The backend of a video-based, gamified learning platform. Instants are UTC, ids are UUIDs, and every "
            "error is a problem document (RFC 9457) whose `detail` is a sentence for the person."
        ),
        openapi_router=Unrouted(path="/", route_handlers=[]),
        operation_id_creator=operation_id,
        use_handler_docstrings=True,
        components=Components(
            security_schemes={
                "bearer": SecurityScheme(type="http", scheme="bearer", bearer_format="JWT"),
                "password": SecurityScheme(
                    type="oauth2", flows=OAuthFlows(password=OAuthFlow(token_url=TOKEN_URL, scopes={}))
                ),
            }
        ),
    )


def operation_id(handler: "HTTPRouteHandler", method: "Method", path: "list[str | PathParameterDefinition]") -> str:
    address = (
        method.lower(),
        "/" + "/".join(part if isinstance(part, str) else f"{{{part.name}}}" for part in path),
    )
    name = handler.handler_name
    return OPERATION_IDS.get(address, f"{name}_legacy" if address in DEPRECATED else name)


def describe_api(app: Litestar) -> dict[str, Any]:
    """Return the OpenAPI document: Litestar's, with the errors, security and deprecation of each operation added."""
    schema: dict[str, Any] = msgspec.json.decode(encode_json(app.openapi_schema.to_schema()))
    schema["components"]["schemas"]["Problem"]["properties"]["status"]["examples"] = [404]
    for method, path, handler in walk(app):
        operation = schema["paths"][path][method]
        if (method, path) in DEPRECATED:
            operation["deprecated"] = True
        operation["summary"] = operation.pop("description").splitlines()[0].removesuffix(".")
        operation["security"] = security_of(handler)
        describe_optional_body(handler, operation)
        ours = {str(status) for status in handler.responses or {}}
        # Litestar adds a 400 with a schema of its own.
        responses = {
            code: response for code, response in operation["responses"].items() if code != "400" or code in ours
        }
        for status in problems_of(handler, operation):
            responses.setdefault(str(status), problem_spec(status))
        operation["responses"] = dict(sorted(responses.items()))
    describe_credentials(schema)
    schema["paths"] = dict(sorted(schema["paths"].items()))  # Litestar's order differs between processes
    return schema


def walk(app: Litestar) -> "Iterator[tuple[str, str, HTTPRouteHandler]]":
    """Yield the method, path and handler of each documented operation."""
    for route in app.routes:
        for handler in getattr(route, "route_handlers", []):
            if handler.resolve_include_in_schema():
                for method in handler.http_methods:
                    yield method.lower(), route.path_format, handler


def security_of(handler: "HTTPRouteHandler") -> list[dict[str, list[str]]]:
    signed_in: list[dict[str, list[str]]] = [{"bearer": []}, {"password": []}]
    if open_to_anyone not in handler.resolve_guards():
        return signed_in
    return [{}] if handler.opt.get(IGNORES_TOKEN) else [{}, *signed_in]


def problems_of(handler: "HTTPRouteHandler", operation: dict[str, Any]) -> set[int]:
    """Return the statuses of the errors that follow from a route's guards, rate limit, parameters and body."""
    statuses = {500} if handler.has_sync_callable else {500, 503}
    guards = handler.resolve_guards()
    if not handler.opt.get(IGNORES_TOKEN):
        statuses.add(401)
    if requires_staff in guards or requires_admin in guards:
        statuses.add(403)
    if "rate_limit" in handler.opt:
        statuses.add(429)
    if "requestBody" in operation or handler.handler_name == "create_token":
        statuses |= {400, 413, 415, 422}
    if operation.get("parameters"):
        statuses.add(404 if all(p["in"] == "path" for p in operation["parameters"]) else 422)
    return statuses


def problem_spec(status: int) -> dict[str, Any]:
    content = {PROBLEM_JSON: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    return {"description": MEANINGS[status], "content": content}


def describe_optional_body(handler: "HTTPRouteHandler", operation: dict[str, Any]) -> None:
    """Correct a body that may be absent: Litestar documents it as required and nullable."""
    body = handler.parsed_fn_signature.parameters.get("data")
    if body is not None and body.has_default:
        content = operation["requestBody"]["content"]["application/json"]
        content["schema"] = next(choice for choice in content["schema"]["oneOf"] if choice.get("type") != "null")
        operation["requestBody"]["required"] = False


def describe_credentials(schema: dict[str, Any]) -> None:
    """Document the two media types of signing in, which one typed parameter cannot express."""
    text = {"type": "string", "minLength": 1}
    json_body = {"type": "object", "required": ["email", "password"], "properties": {"email": text, "password": text}}
    form = {"type": "object", "required": ["username", "password"], "properties": {"username": text, "password": text}}
    schema["paths"][TOKEN_URL]["post"]["requestBody"] = {
        "required": True,
        "content": {
            "application/json": {"schema": json_body},
            "application/x-www-form-urlencoded": {"schema": form},
        },
    }
