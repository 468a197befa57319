"""Serves the anonymous list of courses before routing."""

from litestar.types import ASGIApp, Receive, Scope, Send

from mambo.catalogue.snapshot import Catalogue
from mambo.web.responses import PUBLIC, conditional_response

WORLDS = "/api/courses/worlds"
SPECIAL_HEADERS = frozenset({b"authorization", b"origin"})


class CachedCatalogueMiddleware:
    """Responds to the most frequent request, the anonymous list of courses, from memory and without routing.

    It passes on every other request, those of someone who is signed in or of another site (CORS), and all of them while
    the list in memory may be outdated.
    """

    def __init__(self, app: ASGIApp, catalogue: Catalogue) -> None:
        self.app, self.catalogue = app, catalogue

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if (
            scope.get("path") == WORLDS
            and scope.get("method") == "GET"
            and SPECIAL_HEADERS.isdisjoint(name for name, _ in scope["headers"])
            and (snapshot := self.catalogue.fresh()) is not None
        ):
            scope["path_template"] = WORLDS
            await conditional_response(scope, snapshot.for_anyone, PUBLIC)(scope, receive, send)
        else:
            await self.app(scope, receive, send)
