"""Answers that are encoded already, with a tag by which a client finds its copy still good (RFC 9110, ETag)."""

import re
from hashlib import blake2b
from typing import Any

from litestar import Request, Response
from litestar.openapi import ResponseSpec
from msgspec import Struct

FOR_ANYONE = "public, no-cache"  # kept, and asked about before each use
FOR_ONE = "private, no-cache"


class Tagged(Struct, frozen=True):
    """A response body as JSON, and the tag that changes with it."""

    body: bytes
    tag: str


def tag_of(*parts: bytes) -> str:
    """A strong tag of these bytes."""
    return f'"{blake2b(b"|".join(parts), digest_size=16).hexdigest()}"'


def answer(request: Request[Any, Any, Any], tagged: Tagged, cache_control: str) -> Response[bytes]:
    """The body, or 304 where `If-None-Match` names its tag."""
    headers = {"ETag": tagged.tag, "Cache-Control": cache_control, "Vary": "Authorization"}
    wanted = request.headers.get("if-none-match")
    if wanted is not None and is_named(tagged.tag, wanted):
        return Response(b"", status_code=304, headers=headers)
    return Response(tagged.body, media_type="application/json", headers=headers)


def is_named(tag: str, if_none_match: str) -> bool:
    """Whether the header names the tag: alone, in a list, weakly, or with `*` as any other."""
    return if_none_match.strip() == "*" or tag in re.findall(r'"[^"]*"', if_none_match)


def answers(kind: Any) -> dict[int, ResponseSpec]:  # noqa: ANN401 - a struct or a list of one
    """Document what a route answers that encodes it by itself."""
    return {
        200: ResponseSpec(kind, description="As asked for", generate_examples=False),
        304: ResponseSpec(None, description="The client has it: `If-None-Match` names its `ETag`"),
    }
