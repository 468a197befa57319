"""Responses that are encoded already, and their entity tags (RFC 9110, ETag)."""

import re
from hashlib import blake2b
from typing import Any

import msgspec
from litestar.openapi import ResponseSpec
from litestar.types import Receive, Scope, Send
from msgspec import Struct

# Clients keep a copy, and revalidate it before each use.
PUBLIC = b"public, no-cache"
PRIVATE = b"private, no-cache"

encode = msgspec.json.Encoder().encode


class EncodedResponse(Struct, frozen=True):
    """A response body as JSON, and its entity tag."""

    body: bytes
    etag: str


class BytesResponse:
    """A response of encoded JSON, as an ASGI app: it costs a fraction of Litestar's `Response`."""

    def __init__(self, body: bytes, *headers: tuple[bytes, bytes], status: int = 200) -> None:
        self.body, self.status = body, status
        self.headers = list(headers)
        if body:
            self.headers += [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]

    async def __call__(self, _scope: Scope, _receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status, "headers": self.headers})
        await send({"type": "http.response.body", "body": self.body, "more_body": False})


def etag_of(*parts: bytes) -> str:
    """Return a strong entity tag of these bytes."""
    return f'"{blake2b(b"|".join(parts), digest_size=16).hexdigest()}"'


def conditional_response(scope: Scope, response: EncodedResponse, cache_control: bytes) -> BytesResponse:
    """Return the body, or 304 if `If-None-Match` names its entity tag."""
    headers = ((b"etag", response.etag.encode()), (b"cache-control", cache_control))
    wanted = next((value for name, value in scope["headers"] if name == b"if-none-match"), None)
    if wanted is not None and etag_matches(response.etag, wanted.decode("latin-1")):
        return BytesResponse(b"", *headers, status=304)
    return BytesResponse(response.body, *headers)


def etag_matches(tag: str, if_none_match: str) -> bool:
    """Return whether the header names the tag: alone, in a list, as a weak tag, or as `*`."""
    return if_none_match.strip() == "*" or tag in re.findall(r'"[^"]*"', if_none_match)


def etag_response_spec(kind: Any) -> dict[int, ResponseSpec]:
    """Document a route that returns a `conditional_response` of an encoded `kind`."""
    return {
        200: ResponseSpec(kind, description="Request fulfilled, document follows", generate_examples=False),
        304: ResponseSpec(None, description="Not modified: `If-None-Match` names the current `ETag`"),
    }
