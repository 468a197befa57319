"""Answers that are encoded already, with a tag by which a client finds its copy still good (RFC 9110, ETag)."""

import re
from hashlib import blake2b
from typing import Any

import msgspec
from litestar.connection import ASGIConnection
from litestar.enums import HttpMethod
from litestar.handlers import HTTPRouteHandler
from litestar.openapi import ResponseSpec
from litestar.types import Receive, Scope, Send
from msgspec import Struct

FOR_ANYONE = b"public, no-cache"  # kept, and asked about before each use
FOR_ONE = b"private, no-cache"

encode = msgspec.json.Encoder().encode


class Tagged(Struct, frozen=True):
    """A response body as JSON, and the tag that changes with it."""

    body: bytes
    tag: str


class Answer:
    """A response of these very bytes, as an ASGI app: Litestar's own would take a fifth of a hot request's time."""

    def __init__(self, body: bytes, *headers: tuple[bytes, bytes], status: int = 200) -> None:
        self.body, self.status = body, status
        self.headers = list(headers)
        if body:
            self.headers += [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]

    async def __call__(self, _scope: Scope, _receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status, "headers": self.headers})
        await send({"type": "http.response.body", "body": self.body, "more_body": False})


class HotHandler(HTTPRouteHandler):
    """A route that is asked for all the time: its guards see the handler itself, where Litestar makes each a copy."""

    async def authorize_connection(self, connection: ASGIConnection[Any, Any, Any, Any]) -> None:
        for guard in self.resolve_guards():
            await guard(connection, self)  # type: ignore[misc]


def hot_get(path: str | list[str], *, responses: dict[int, ResponseSpec]) -> HotHandler:
    """As Litestar's `get`, for such a route."""
    return HotHandler(path, http_method=HttpMethod.GET, responses=responses)


def hot_post(path: str | list[str], *, responses: dict[int, ResponseSpec]) -> HotHandler:
    """As Litestar's `post`, for such a route, which answers 200."""
    return HotHandler(path, http_method=HttpMethod.POST, status_code=200, responses=responses)


def tag_of(*parts: bytes) -> str:
    """A strong tag of these bytes."""
    return f'"{blake2b(b"|".join(parts), digest_size=16).hexdigest()}"'


def answer(scope: Scope, tagged: Tagged, cache_control: bytes) -> Answer:
    """The body, or 304 where `If-None-Match` names its tag."""
    headers = ((b"etag", tagged.tag.encode()), (b"cache-control", cache_control))
    wanted = next((value for name, value in scope["headers"] if name == b"if-none-match"), None)
    if wanted is not None and is_named(tagged.tag, wanted.decode("latin-1")):
        return Answer(b"", *headers, status=304)
    return Answer(tagged.body, *headers)


def is_named(tag: str, if_none_match: str) -> bool:
    """Whether the header names the tag: alone, in a list, weakly, or with `*` as any other."""
    return if_none_match.strip() == "*" or tag in re.findall(r'"[^"]*"', if_none_match)


def answers(kind: Any) -> dict[int, ResponseSpec]:  # noqa: ANN401 - a struct or a list of one
    """Document what a route answers that encodes it by itself."""
    return {200: ResponseSpec(kind, description="As asked for", generate_examples=False)}


def tagged_answers(kind: Any) -> dict[int, ResponseSpec]:  # noqa: ANN401 - as above
    """The same for a route that tags it."""
    not_modified = ResponseSpec(None, description="The client has it: `If-None-Match` names its `ETag`")
    return answers(kind) | {304: not_modified}
