"""Every route declares who may call it, and refuses everyone else."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from litestar import Litestar
from litestar.handlers import HTTPRouteHandler

from factories import School
from mambo.web.guards import open_to_anyone, requires_admin, requires_staff, requires_user
from mambo.web.openapi import walk
from mambo.web.principal import Role
from mambo.web.schemas import Input

POLICY_PAGE = Path(__file__).parents[2] / "docs" / "api.md"
AUDIENCES = {open_to_anyone, requires_user, requires_staff, requires_admin}

# All routes, by who may call them. A test fails if a route is missing here.
POLICY = {
    open_to_anyone: {
        "GET /",
        "GET /health",
        "GET /health/live",
        "GET /health/ready",
        "POST /api/auth/register",
        "POST /api/auth/token",
        "POST /api/auth/refresh",
        "POST /api/auth/forgot-password",
        "POST /api/auth/reset-password",
        "POST /api/auth/verify-email",
        "GET /api/courses/worlds",
        "GET /api/courses/worlds/{world_id}/lessons",
        "GET /api/game/rules",
        "POST /api/mux/webhook",
        "POST /api/webhook",
    },
    requires_user: {
        "GET /api/auth/me",
        "POST /api/auth/logout",
        "POST /api/auth/password",
        "POST /api/auth/resend-verification",
        "GET /api/auth/sessions",
        "DELETE /api/auth/sessions/{session_id}",
        "GET /api/users/me",
        "PATCH /api/users/me",
        "GET /api/courses/lessons/{lesson_id}",
        "POST /api/courses/lessons/{lesson_id}/complete",
        "GET /api/courses/lessons/{lesson_id}/comments",
        "POST /api/courses/lessons/{lesson_id}/comments",
        "PATCH /api/courses/lessons/{lesson_id}/comments/{comment_id}",
        "DELETE /api/courses/lessons/{lesson_id}/comments/{comment_id}",
        "POST /api/courses/lessons/{lesson_id}/quiz",
        "POST /api/progress/lessons/{lesson_id}/complete",
        "GET /api/progress/me",
        "GET /api/progress/xp",
        "GET /api/progress/streak",
        "GET /api/users/leaderboard",
        "POST /api/uploads/presigned-url",
        "POST /api/submissions/submit",
        "POST /api/submissions/upload-url",
        "GET /api/submissions/my-submissions",
    },
    requires_staff: {
        "GET /api/mux/asset/{asset_id}/exists",
        "GET /api/admin/submissions",
        "POST /api/admin/submissions/{submission_id}/grade",
    },
    requires_admin: {
        "GET /api/admin/courses",
        "POST /api/admin/courses",
        "GET /api/admin/courses/{course_id}",
        "GET /api/admin/courses/{course_id}/full",
        "PATCH /api/admin/courses/{course_id}",
        "PUT /api/admin/courses/{course_id}",
        "DELETE /api/admin/courses/{course_id}",
        "PUT /api/admin/courses/{course_id}/order",
        "POST /api/admin/courses/{course_id}/levels",
        "POST /api/admin/courses/{course_id}/lessons",
        "PATCH /api/admin/levels/{level_id}",
        "DELETE /api/admin/levels/{level_id}",
        "POST /api/admin/levels/{level_id}/lessons",
        "GET /api/admin/lessons/{lesson_id}",
        "PATCH /api/admin/lessons/{lesson_id}",
        "PUT /api/admin/lessons/{lesson_id}",
        "DELETE /api/admin/lessons/{lesson_id}",
        "GET /api/admin/users",
        "GET /api/admin/users/{user_id}",
        "PATCH /api/admin/users/{user_id}",
        "POST /api/admin/users/{user_id}/xp",
        "GET /api/admin/users/{user_id}/sessions",
        "DELETE /api/admin/users/{user_id}/sessions",
        "GET /api/admin/students",
        "GET /api/admin/stats",
        "POST /api/mux/upload-url",
        "POST /api/mux/check-upload-status",
        "DELETE /api/mux/asset/{asset_id}",
    },
}
CALLS = [(call, audience) for audience, calls in POLICY.items() for call in sorted(calls)]


def test_every_route_has_exactly_one_audience(app: Litestar) -> None:
    for route in app.routes:
        for handler in getattr(route, "route_handlers", []):
            if isinstance(handler, HTTPRouteHandler) and "OPTIONS" not in handler.http_methods:
                assert len(AUDIENCES & set(handler.resolve_guards())) == 1, (route.path, handler.handler_name)


def test_the_policy_equals_the_documented_routes(app: Litestar) -> None:
    routes = {
        f"{method.upper()} {path}": next(iter(AUDIENCES & set(handler.resolve_guards())))
        for method, path, handler in walk(app)
    }

    assert routes == dict(CALLS)


NAMES = {open_to_anyone: "anyone", requires_user: "signed in", requires_staff: "staff", requires_admin: "admins"}


def test_the_api_page_lists_who_may_call_each_route() -> None:
    """The table on the page equals POLICY."""
    rows = []
    for audience, calls in POLICY.items():
        by_path = sorted(calls, key=lambda call: call.split()[::-1])
        rows.append(f"| {NAMES[audience]} | {' · '.join(f'`{call}`' for call in by_path)} |")

    assert "\n".join(["| who | what |", "|---|---|", *rows]) in POLICY_PAGE.read_text()


@pytest.mark.parametrize(("call", "audience"), CALLS, ids=[call for call, _ in CALLS])
async def test_a_caller_without_permission_is_refused(school: School, call: str, audience: object) -> None:
    """It is 401 without a token, and 403 without the role; an allowed caller gets neither."""
    method, template = call.split(" ")
    path = re.sub(r"{\w+}", str(uuid4()), template)
    callers = {role: await school.person(role) for role in Role}
    allowed = {
        open_to_anyone: set(Role),
        requires_user: set(Role),
        requires_staff: {Role.INSTRUCTOR, Role.ADMIN},
        requires_admin: {Role.ADMIN},
    }[audience]  # type: ignore[index]

    anonymous = await school.client.request(method, path)
    statuses = {role: (await caller.request(method, path)).status_code for role, caller in callers.items()}

    assert (anonymous.status_code == 401) is (audience is not open_to_anyone and not path.startswith("/api/auth/token"))
    for role, status in statuses.items():
        assert (status == 403) is (role not in allowed), (role, status)
        assert status not in {401, 500}, (role, status)


@pytest.mark.parametrize("call", [call for call, audience in CALLS if audience is not open_to_anyone])
async def test_a_disabled_account_is_not_signed_in(school: School, call: str) -> None:
    method, template = call.split(" ")
    disabled = await school.person(Role.ADMIN, is_active=False)

    response = await disabled.request(method, re.sub(r"{\w+}", str(uuid4()), template))

    assert response.status_code == 401


# Unknown fields

FORBIDDEN = ("id", "user_id", "owner_id", "created_at", "xp", "level", "streak_count", "password_hash", "revoked_at")
RESTRICTED = ("role", "tier", "is_active", "is_published", "subscription_status", "current_period_end", "email")


@pytest.mark.parametrize("call", [call for call, _ in CALLS])
async def test_a_field_that_a_body_does_not_declare_is_refused(
    school: School, call: str, api_description: dict[str, Any]
) -> None:
    """Called by an admin, who has every permission."""
    method, template = call.split(" ")
    body = api_description["paths"][template][method.lower()].get("requestBody", {})
    schema = body.get("content", {}).get("application/json", {}).get("schema", {})
    if "$ref" in schema:
        schema = api_description["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    if schema.get("type") != "object":  # no body, or a list
        return

    for field in (*FORBIDDEN, *RESTRICTED):
        if field not in schema["properties"]:
            admin = await school.admin()  # a new one each time, because some routes are rate limited
            response = await admin.request(method, re.sub(r"{\w+}", str(uuid4()), template), json={field: "x"})
            if response.json()["code"] != "not_configured":  # this app has neither Mux nor R2
                assert (response.status_code, response.json()["errors"][0]["code"]) == (422, "unknown_field"), field
    assert set(schema["properties"]).isdisjoint(FORBIDDEN)


def test_every_body_refuses_unknown_fields() -> None:
    bodies = [struct for struct in subclasses(Input) if struct.__struct_fields__]

    assert len(bodies) > 10
    assert all(struct.__struct_config__.forbid_unknown_fields for struct in bodies)


def test_no_field_of_a_body_has_the_name_of_a_dependency(app: Litestar) -> None:
    """Litestar would report an error in that field as an error in the dependency, with 500."""
    handlers = [handler for route in app.routes for handler in getattr(route, "route_handlers", [])]
    bodies = [(handler, handler.parsed_data_field) for handler in handlers if handler.parsed_data_field]

    assert len(bodies) > 10
    for handler, body in bodies:
        fields = getattr(body.annotation, "__struct_encode_fields__", ())
        assert handler.resolve_dependencies().keys().isdisjoint(fields), str(handler)


def subclasses(kind: type[Any]) -> Iterator[type[Any]]:
    for subclass in kind.__subclasses__():
        yield subclass
        yield from subclasses(subclass)
