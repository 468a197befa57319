"""The OpenAPI document, and the pages that show it without files from other hosts."""

import re
from importlib.metadata import files, requires
from typing import Any

import httpx
import pytest
from openapi_spec_validator import validate

from mambo.web.openapi import DEPRECATED


def test_the_document_is_valid_openapi(api_description: dict[str, Any]) -> None:
    assert api_description["openapi"].startswith("3.1")
    validate(api_description)


def test_operation_ids_are_unique_and_in_snake_case(api_description: dict[str, Any]) -> None:
    names = [operation["operationId"] for path in api_description["paths"].values() for operation in path.values()]

    assert len(names) == len(set(names))
    assert all(re.fullmatch(r"[a-z_]+", name) for name in names)


def test_only_the_old_paths_are_deprecated(api_description: dict[str, Any]) -> None:
    marked = {
        (method, path)
        for path, operations in api_description["paths"].items()
        for method, operation in operations.items()
        if operation.get("deprecated")
    }

    assert marked == DEPRECATED


def test_an_optional_body_is_documented_as_optional(api_description: dict[str, Any]) -> None:
    body = api_description["paths"]["/api/mux/upload-url"]["post"]["requestBody"]

    assert body["required"] is False
    assert body["content"]["application/json"]["schema"] == {"$ref": "#/components/schemas/VideoRequest"}


def test_sign_in_documents_json_and_form_bodies(api_description: dict[str, Any]) -> None:
    body = api_description["paths"]["/api/auth/token"]["post"]["requestBody"]

    assert set(body["content"]) == {"application/json", "application/x-www-form-urlencoded"}


@pytest.mark.parametrize("page", ["/docs", "/redoc"])
async def test_a_page_loads_files_of_this_app_only(client: httpx.AsyncClient, page: str) -> None:
    """Every URL in the page is served by this app, with a media type that browsers accept."""
    response = await client.get(page)
    urls = re.findall(r'(?:src|href|spec-url)="([^"]+)"', response.text)

    assert response.headers["content-type"].startswith("text/html")
    assert "http" not in response.text
    assert len(urls) >= 3
    for url in urls:
        if not url.startswith("data:"):
            asset = await client.get(url)
            assert asset.status_code == 200
            assert re.match(r"text/(css|javascript)|application/json", asset.headers["content-type"])


def test_files_of_the_pages_are_installed_with_licences_and_without_a_web_framework() -> None:
    installed = {str(file) for file in files("mambo") or () if file.parts[0] == "mambo_docs"}
    requirements = " ".join(requires("mambo") or ()).lower()

    assert {"mambo_docs/swagger-ui-dist/LICENSE", "mambo_docs/redoc/LICENSE"} <= installed
    assert not re.search("flask|werkzeug|django", requirements)


async def test_the_document_is_served(client: httpx.AsyncClient, api_description: dict[str, Any]) -> None:
    assert (await client.get("/openapi.json")).json() == api_description
