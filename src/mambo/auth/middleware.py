"""Reads the bearer token of each request and puts the person behind it into the scope."""

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
    """No token: nobody is signed in, and the guards decide. A bad token is 401, save on routes that ignore tokens."""

    scopes = (ScopeType.HTTP,)

    def __init__(self, principals: PrincipalCache, clock: Clock) -> None:
        self.principals, self.clock = principals, clock

    async def handle(self, scope: Scope, receive: Receive, send: Send, next_app: ASGIApp) -> None:
        scope["user"] = None
        if not scope["route_handler"].opt.get(IGNORES_TOKEN):
            scope["user"] = await self._who(scope)
        await next_app(scope, receive, send)

    async def _who(self, scope: Scope) -> Principal | None:
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
