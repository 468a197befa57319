"""Puts the principal of the bearer token into the scope of each request."""

from litestar.enums import ScopeType
from litestar.middleware import ASGIMiddleware
from litestar.types import ASGIApp, Receive, Scope, Send

from mambo.auth.principals import PrincipalCache
from mambo.auth.tokens import SIGN_IN_AGAIN
from mambo.clock import Clock
from mambo.errors import NotSignedIn
from mambo.web.guards import IGNORES_TOKEN
from mambo.web.principal import Principal


class AuthenticationMiddleware(ASGIMiddleware):
    """Authenticates requests. One without a token is passed on, and the route's guards decide.

    A bad token is 401, except on routes that ignore tokens.
    """

    scopes = (ScopeType.HTTP,)

    def __init__(self, principals: PrincipalCache, clock: Clock) -> None:
        self.principals, self.clock = principals, clock

    async def handle(self, scope: Scope, receive: Receive, send: Send, next_app: ASGIApp) -> None:
        scope["user"] = None
        if not scope["route_handler"].opt.get(IGNORES_TOKEN):
            scope["user"] = await self._authenticate(scope)
        await next_app(scope, receive, send)

    async def _authenticate(self, scope: Scope) -> Principal | None:
        header = next((value for name, value in scope["headers"] if name == b"authorization"), b"")
        scheme, _, token = header.decode("latin-1").partition(" ")
        if not scheme:
            return None
        if scheme.lower() != "bearer":
            raise NotSignedIn(SIGN_IN_AGAIN)
        principal = await self.principals.get(token.strip(), self.clock())
        if principal is None:
            raise NotSignedIn(SIGN_IN_AGAIN)
        return principal
