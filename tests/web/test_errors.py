"""Errors are problem documents; `conftest` checks the fields that all of them have."""

from typing import Any

import httpx
import pytest

from factories import School
from mambo.catalogue.service import CatalogueService


@pytest.mark.parametrize(
    ("body", "status", "field", "detail"),
    [
        ("{", 400, None, "The request is not readable: check the syntax of the body, the parameters and the headers."),
        ("[" * 200_000, 400, None, "The body is not readable JSON: check its syntax, encoding and depth."),
        ('{"first_name": "\\ud800"}', 400, None, None),
        ("", 422, "body", "body is required as JSON."),
        ("[]", 422, "body", "body must be an object."),
        ("null", 422, "body", None),
        ('{"first_name": ""}', 422, "first_name", "first_name must not be empty."),
        ('{"first_name": "   "}', 422, "first_name", None),
        ('{"first_name": 3}', 422, "first_name", "first_name must be text."),
        ('{"first_name": null}', 422, "first_name", "first_name must not be null."),
        ('{"first_name": "a\\u0000b"}', 422, "first_name", None),
        ('{"first_name": "a\\u202eb"}', 422, "first_name", None),
        ('{"nick_name": "x"}', 422, "nick_name", "nick_name is not known here."),
        (
            '{"current_level_tag": "Great"}',
            422,
            "current_level_tag",
            "current_level_tag must be one of Beginner, Novice, Intermediate, Advanced.",
        ),
        ('{"avatar_url": "javascript:alert(1)"}', 422, "avatar_url", None),
        (
            '{"show_on_leaderboard": "perhaps"}',
            422,
            "show_on_leaderboard",
            "show_on_leaderboard must be true or false.",
        ),
    ],
)
async def test_an_invalid_body_is_refused_with_the_field_and_a_sentence(
    school: School, body: str, status: int, field: str | None, detail: str | None
) -> None:
    ana = await school.person()

    response = await ana.request("PATCH", "/api/users/me", content=body, headers={"Content-Type": "application/json"})

    problem = response.json()
    assert response.status_code == status
    assert detail in {None, problem["detail"]}
    assert [error["field"] for error in problem.get("errors", [])] == ([field] if field else [])


async def test_a_body_over_one_megabyte_is_refused(school: School) -> None:
    ana = await school.person()

    response = await ana.patch("/api/users/me", {"first_name": "x" * 1_000_001})

    assert response.status_code == 413


async def test_a_body_of_another_media_type_is_refused(school: School) -> None:
    ana = await school.person()

    response = await ana.request("PATCH", "/api/users/me", data={"first_name": "Ana"})

    assert (response.status_code, response.json()["code"]) == (415, "wrong_media_type")
    assert "application/json" in response.json()["detail"]


@pytest.mark.parametrize(
    "path", ["/nothing", "/api/courses/lessons/not-an-id", "/schema", "/openapi/x", "/docs/assets/x"]
)
async def test_an_unknown_path_is_404(client: httpx.AsyncClient, school: School, path: str) -> None:
    response = await client.get(path)

    assert response.status_code == 404


async def test_a_wrong_method_is_405_with_the_allowed_ones(client: httpx.AsyncClient) -> None:
    response = await client.delete("/api/courses/worlds")

    assert (response.status_code, response.json()["code"]) == (405, "method_not_allowed")
    assert "GET" in response.headers["allow"]


async def test_an_unexpected_error_is_500_without_details(
    school: School, app: Any, monkeypatch: pytest.MonkeyPatch, client: httpx.AsyncClient
) -> None:
    """The response has the request id, and nothing of the exception."""

    async def fail(_: object) -> None:
        raise RuntimeError("a secret")

    monkeypatch.setattr(CatalogueService, "get_worlds", fail)

    response = await client.get("/api/courses/worlds", headers={"X-Request-Id": "my-own-id-1"})

    assert response.status_code == 500
    assert response.json()["request_id"] == "my-own-id-1"
    assert "secret" not in response.text


@pytest.mark.parametrize(
    ("given", "kept"), [("abc-12345", True), ("short", False), ("with space 1", False), ("x" * 65, False)]
)
async def test_a_valid_request_id_is_kept_and_an_invalid_one_replaced(
    client: httpx.AsyncClient, given: str, kept: bool
) -> None:
    response = await client.get("/health", headers={"X-Request-Id": given})

    assert (response.headers["x-request-id"] == given) is kept


async def test_cors_allows_the_configured_origins_only(client: httpx.AsyncClient) -> None:
    preflight = {"Access-Control-Request-Method": "GET", "Access-Control-Request-Headers": "authorization"}

    allowed = await client.options("/api/users/me", headers=preflight | {"Origin": "http://localhost:3000"})
    other = await client.options("/api/users/me", headers=preflight | {"Origin": "http://localhost:3000.evil.example"})

    assert allowed.status_code == 204
    assert allowed.headers["access-control-allow-origin"] == "http://localhost:3000"
    assert allowed.headers["access-control-allow-credentials"] == "true"
    assert "access-control-allow-origin" not in other.headers


async def test_an_error_response_has_the_cors_headers(client: httpx.AsyncClient) -> None:
    response = await client.get("/api/users/me", headers={"Origin": "http://localhost:3000"})

    assert response.status_code == 401
    assert response.headers["access-control-allow-origin"] == "http://localhost:3000"
