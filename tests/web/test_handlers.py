"""`fast_get` and `fast_post`: the version of Litestar, dependencies, guards, responses and headers."""

import asyncio
from importlib.metadata import version
from typing import Any

import httpx
import pytest
from litestar import Controller, Litestar
from litestar.connection import ASGIConnection
from litestar.datastructures import CacheControlHeader
from litestar.di import NamedDependency, Provide
from litestar.exceptions import PermissionDeniedException
from litestar.handlers import BaseRouteHandler
from msgspec import Struct

from mambo.web.handlers import LITESTAR_VERSION, fast_get, fast_post
from mambo.web.responses import BytesResponse


class Dance(Struct):
    name: str
    beats: int


MAMBO = Dance("mambo", 8)


class Steps:
    """The steps of dependencies, in order; each dependency lets other tasks run in between."""

    def __init__(self) -> None:
        self.taken: list[str] = []

    def provide(self, name: str) -> Provide:
        async def resolve() -> str:
            self.taken.append(f"begin {name}")
            await asyncio.sleep(0)
            self.taken.append(f"end {name}")
            return name

        return Provide(resolve)


async def require_password(connection: ASGIConnection[Any, Any, Any, Any], handler: BaseRouteHandler) -> None:
    if connection.headers.get("password") != handler.opt["password"]:
        raise PermissionDeniedException


async def call(handler: Any, *, method: str = "GET", **headers: str) -> httpx.Response:
    """Call the handler in an app without others."""
    app = Litestar([handler], openapi_config=None, logging_config=None)
    transport = httpx.ASGITransport(app=app)  # type: ignore[arg-type]
    async with httpx.AsyncClient(transport=transport, base_url="http://test", headers=headers) as client:
        return await client.request(method, "/")


def test_the_handlers_were_written_for_the_installed_litestar() -> None:
    """With another version, check every override in `handlers.py` before you change LITESTAR_VERSION."""
    assert version("litestar").startswith(f"{LITESTAR_VERSION}.")


async def test_dependencies_are_resolved_one_after_another() -> None:
    steps = Steps()

    @fast_get("/", dependencies={name: steps.provide(name) for name in ("first", "second")})
    async def handle(first: NamedDependency[str], second: NamedDependency[str]) -> list[str]:
        return [first, second]

    response = await call(handle)

    assert response.json() == ["first", "second"]
    assert [step.split()[0] for step in steps.taken] == ["begin", "end"] * 2


async def test_a_dependency_is_resolved_before_those_that_need_it() -> None:
    async def provide_beats() -> int:
        return 8

    async def provide_dance(beats: NamedDependency[int]) -> Dance:
        return Dance("mambo", beats)

    @fast_get("/", dependencies={"dance": Provide(provide_dance), "beats": Provide(provide_beats)})
    async def handle(dance: NamedDependency[Dance], beats: NamedDependency[int]) -> list[Any]:
        return [dance, beats]

    response = await call(handle)

    assert response.json() == [{"name": "mambo", "beats": 8}, 8]


@pytest.mark.parametrize(("password", "status"), [("salsa", 403), ("mambo", 200)])
async def test_guards_run_before_the_handler(password: str, status: int) -> None:
    """A guard receives the handler with its options."""
    calls: list[str] = []

    @fast_get("/", guards=[require_password], password="mambo")
    async def handle() -> Dance:
        calls.append("handle")
        return MAMBO

    response = await call(handle, password=password)

    assert response.status_code == status
    assert calls == (["handle"] if status == 200 else [])


async def test_guards_of_a_controller_run() -> None:
    class Dances(Controller):
        path = "/"
        guards = (require_password,)

        @fast_get("/", password="mambo")
        async def handle(self) -> Dance:
            return MAMBO

    assert (await call(Dances, password="salsa")).status_code == 403
    assert (await call(Dances, password="mambo")).json() == {"name": "mambo", "beats": 8}


@pytest.mark.parametrize(
    ("result", "body"),
    [
        (MAMBO, b'{"name":"mambo","beats":8}'),
        ([MAMBO], b'[{"name":"mambo","beats":8}]'),
        ([], b"[]"),
        (None, b"null"),
    ],
    ids=["struct", "list", "empty list", "none"],
)
async def test_a_result_is_returned_as_json(result: Any, body: bytes) -> None:
    @fast_get("/")
    async def handle() -> Any:
        return result

    response = await call(handle)

    assert (response.status_code, response.content) == (200, body)
    assert response.headers["content-type"] == "application/json"
    assert response.headers["content-length"] == str(len(body))


async def test_a_bytes_response_is_returned_unchanged() -> None:
    @fast_get("/")
    async def handle() -> BytesResponse:
        return BytesResponse(b'"encoded"', (b"etag", b'"1"'), status=418)

    response = await call(handle)

    assert (response.status_code, response.content, response.headers["etag"]) == (418, b'"encoded"', '"1"')


async def test_a_post_is_200() -> None:
    @fast_post("/")
    async def handle() -> Dance:
        return MAMBO

    response = await call(handle, method="POST")

    assert (response.status_code, response.json()) == (200, {"name": "mambo", "beats": 8})


async def test_the_cache_control_of_a_handler_and_of_its_controller_is_sent() -> None:
    class Dances(Controller):
        path = "/"
        cache_control = CacheControlHeader(no_store=True)

        @fast_get("/")
        async def handle(self) -> Dance:
            return MAMBO

    @fast_get("/", cache_control=CacheControlHeader(private=True, no_cache=True))
    async def handle() -> Dance:
        return MAMBO

    assert (await call(Dances)).headers["cache-control"] == "no-store"
    assert set((await call(handle)).headers["cache-control"].split(", ")) == {"private", "no-cache"}
