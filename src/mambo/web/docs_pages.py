"""The pages `/docs` and `/redoc`, and the files they load."""

import base64
import hashlib
from functools import cache
from importlib import resources
from typing import Any

from litestar import Litestar, MediaType, Request, Response, get
from litestar.datastructures import CacheControlHeader, ResponseHeader
from litestar.serialization import encode_json
from litestar.static_files import create_static_files_router

from mambo.web.guards import IGNORES_TOKEN, open_to_anyone
from mambo.web.openapi import describe_api

START = "SwaggerUIBundle({url: '/openapi.json', dom_id: '#docs', deepLinking: true, persistAuthorization: true})"
SWAGGER = f"""<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Mambo API</title>
<link rel="icon" href="data:,"><link rel="stylesheet" href="/docs/assets/swagger-ui-dist/swagger-ui.css"></head>
<body><div id="docs"></div>
<script src="/docs/assets/swagger-ui-dist/swagger-ui-bundle.js"></script><script>{START}</script></body></html>
"""
REDOC = """<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Mambo API</title>
<link rel="icon" href="data:,"></head>
<body><redoc spec-url="/openapi.json"></redoc>
<script src="/docs/assets/redoc/bundles/redoc.standalone.js"></script></body></html>
"""
START_HASH = base64.b64encode(hashlib.sha256(START.encode()).digest()).decode()
PAGE_POLICY = ResponseHeader(
    name="Content-Security-Policy",
    value=(
        f"default-src 'self'; script-src 'self' 'sha256-{START_HASH}'; style-src 'self' 'unsafe-inline'; "
        "img-src 'self' data:; font-src 'self' data:; worker-src blob:; frame-ancestors 'none'"
    ),
)


def documentation_routes() -> list[Any]:
    """Return the routes of `/openapi.json`, `/docs` (Swagger UI), `/redoc` (ReDoc) and their static files."""
    page: dict[str, Any] = {
        "guards": [open_to_anyone],
        "opt": {IGNORES_TOKEN: True},
        "include_in_schema": False,
        "sync_to_thread": False,
    }

    @cache
    def encoded(app: Litestar) -> bytes:
        return encode_json(describe_api(app))

    @get("/openapi.json", **page)
    def openapi_json(request: Request[Any, Any, Any]) -> Response[bytes]:
        return Response(encoded(request.app), media_type=MediaType.JSON)

    @get("/docs", media_type=MediaType.HTML, response_headers=[PAGE_POLICY], **page)
    def swagger_page() -> str:
        return SWAGGER

    @get("/redoc", media_type=MediaType.HTML, response_headers=[PAGE_POLICY], **page)
    def redoc_page() -> str:
        return REDOC

    assets = create_static_files_router(
        "/docs/assets",
        [str(resources.files("mambo_docs") / "")],  # put there by `hatch_build.py`
        cache_control=CacheControlHeader(public=True, max_age=86_400),
        guards=[open_to_anyone],
        opt={IGNORES_TOKEN: True},
    )
    return [openapi_json, swagger_page, redoc_page, assets]
