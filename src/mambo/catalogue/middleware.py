"""Serves the anonymous course list before routing."""

from litestar.types import ASGIApp, Receive, Scope, Send

from mambo.catalogue.snapshot import Catalogue
from mambo.web.responses import (
    PUBLIC,
    conditional_response,
)

WORLDS = "/api/courses/worlds"
NOT_FOR_ANYONE = frozenset({b"authorization", b"origin"})


class CachedCatalogueMiddleware:
    """Answers the one question that everybody asks first before it is routed: anyone's list of courses, from memory.

    Whoever says who they are or asks from another site goes in, and so does everyone while memory is not fresh.
    """

    def __init__(self, app: ASGIApp, catalogue: Catalogue) -> None:
        self.app, self.catalogue = app, catalogue

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if (
            scope.get("path") == WORLDS
            and scope.get("method") == "GET"
            and NOT_FOR_ANYONE.isdisjoint(name for name, _ in scope["headers"])
            and (snapshot := self.catalogue.fresh()) is not None
        ):
            scope["path_template"] = WORLDS
            await conditional_response(scope, snapshot.for_anyone, PUBLIC)(scope, receive, send)
        else:
            await self.app(scope, receive, send)
