"""The description of the API: valid, complete, stable, and shown without the network."""

import re
from importlib.metadata import files, requires
from typing import Any

import httpx
import pytest
from openapi_spec_validator import validate

from mambo.web.openapi import DEPRECATED


def test_the_description_is_valid_openapi(api_description: dict[str, Any]) -> None:
    assert api_description["openapi"].startswith("3.1")
    validate(api_description)


def test_operation_ids_are_unique_words(api_description: dict[str, Any]) -> None:
    names = [operation["operationId"] for path in api_description["paths"].values() for operation in path.values()]

    assert len(names) == len(set(names))
    assert all(re.fullmatch(r"[a-z_]+", name) for name in names)


def test_the_old_spellings_are_marked_deprecated_and_no_other(api_description: dict[str, Any]) -> None:
    marked = {
        (method, path)
        for path, operations in api_description["paths"].items()
        for method, operation in operations.items()
        if operation.get("deprecated")
    }

    assert marked == DEPRECATED


def test_a_body_that_may_be_absent_is_documented_so(api_description: dict[str, Any]) -> None:
    body = api_description["paths"]["/api/mux/upload-url"]["post"]["requestBody"]

    assert body["required"] is False
    assert body["content"]["application/json"]["schema"] == {"$ref": "#/components/schemas/VideoRequest"}


def test_signing_in_documents_json_and_the_form(api_description: dict[str, Any]) -> None:
    body = api_description["paths"]["/api/auth/token"]["post"]["requestBody"]

    assert set(body["content"]) == {"application/json", "application/x-www-form-urlencoded"}


@pytest.mark.parametrize("page", ["/docs", "/redoc"])
async def test_a_page_and_all_it_loads_come_from_here(client: httpx.AsyncClient, page: str) -> None:
    """No CDN: every address in the page is ours, answers, and has a type that browsers accept."""
    response = await client.get(page)
    addresses = re.findall(r'(?:src|href|spec-url)="([^"]+)"', response.text)

    assert response.headers["content-type"].startswith("text/html")
    assert "http" not in response.text
    assert len(addresses) >= 3
    for address in addresses:
        if not address.startswith("data:"):
            asset = await client.get(address)
            assert asset.status_code == 200
            assert re.match(r"text/(css|javascript)|application/json", asset.headers["content-type"])


def test_the_pages_files_are_installed_with_their_licences_and_no_framework() -> None:
    installed = {str(file) for file in files("mambo") or () if file.parts[0] == "mambo_docs"}
    requirements = " ".join(requires("mambo") or ()).lower()

    assert {"mambo_docs/swagger-ui-dist/LICENSE", "mambo_docs/redoc/LICENSE"} <= installed
    assert not re.search("flask|werkzeug|django", requirements)


async def test_the_description_is_served(client: httpx.AsyncClient, api_description: dict[str, Any]) -> None:
    assert (await client.get("/openapi.json")).json() == api_description
