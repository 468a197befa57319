"""`/api/auth`: making an account, signing in, staying signed in, and ending it."""

from typing import Any
from uuid import UUID

import msgspec
from litestar import Controller, Request, Response, delete, get, post
from litestar.background_tasks import BackgroundTask
from litestar.datastructures import CacheControlHeader
from litestar.di import NamedDependency, Provide
from litestar.params import FromPath, JSONBody

from mambo.auth.emails import EmailNotifier
from mambo.auth.schemas import Credentials, OAuth2Form, PasswordChange, Refresh, Registration, Session, Token
from mambo.auth.service import (
    RefreshService,
    SessionService,
    SignInService,
    provide_refresh_service,
    provide_session_service,
    provide_sign_in_service,
)
from mambo.errors import WrongMediaType
from mambo.limits.rules import PASSWORD, REGISTER
from mambo.users.rules import normalize_email
from mambo.web.guards import IGNORES_TOKEN, open_to_anyone, requires_user
from mambo.web.openapi import raises
from mambo.web.principal import Principal


async def read_credentials(request: Request[Any, Any, Any]) -> Credentials:
    """The credentials of a JSON body or of OAuth2's password form.

    Raises:
        WrongMediaType: the body is neither.

    """
    media_type, _ = request.content_type
    if media_type == "application/json":
        return msgspec.json.decode(await request.body(), type=Credentials)
    if media_type == "application/x-www-form-urlencoded":
        form = msgspec.convert(dict(await request.form()), OAuth2Form)
        return Credentials(email=form.username, password=form.password)
    raise WrongMediaType("Send the credentials as application/json or application/x-www-form-urlencoded.")


class AuthController(Controller):
    path = "/api/auth"
    tags = ("Authentication",)
    guards = (open_to_anyone,)
    # A client may send its old token along when it signs in anew.
    opt = {IGNORES_TOKEN: True}
    cache_control = CacheControlHeader(no_store=True)
    dependencies = {
        "sign_in": Provide(provide_sign_in_service),
        "refreshing": Provide(provide_refresh_service),
    }

    @post("/register", rate_limit=REGISTER, responses=raises(409, 429))
    async def register(
        self,
        data: JSONBody[Registration],
        sign_in: NamedDependency[SignInService],
        emails: NamedDependency[EmailNotifier],
    ) -> Response[Token]:
        """Make an account and sign it in; an e-mail with a link to confirm the address goes out."""
        user_id, token = await sign_in.register(data)
        verification = BackgroundTask(emails.send_verification, user_id, normalize_email(data.email))
        return Response(token, background=verification)

    @post("/token", status_code=200, responses=raises(401, 429))
    async def create_token(self, request: Request[Any, Any, Any], sign_in: NamedDependency[SignInService]) -> Token:
        """Sign in with JSON, or with OAuth2's password form."""
        return await sign_in.sign_in(await read_credentials(request))

    @post("/refresh", status_code=200, responses=raises(401, 429))
    async def refresh(self, data: JSONBody[Refresh], refreshing: NamedDependency[RefreshService]) -> Token:
        """New tokens for a refresh token; each is used once, and again within ten seconds should the answer be lost."""
        return await refreshing.refresh(data.refresh_token)


class SessionController(Controller):
    path = "/api/auth"
    tags = ("Authentication",)
    guards = (requires_user,)
    dependencies = {"sessions": Provide(provide_session_service)}

    @post("/logout", status_code=204)
    async def log_out(self, principal: NamedDependency[Principal], sessions: NamedDependency[SessionService]) -> None:
        """End this session; its tokens count no more, on any device."""
        await sessions.end(principal.session_id, principal)

    @get("/sessions", cache_control=CacheControlHeader(no_store=True))
    async def list_sessions(
        self, principal: NamedDependency[Principal], sessions: NamedDependency[SessionService]
    ) -> list[Session]:
        """One's own sessions, the last seen first."""
        return await sessions.get(principal.user_id, principal.session_id)

    @delete("/sessions/{session_id:uuid}", responses=raises(404))
    async def end_session(
        self,
        session_id: FromPath[UUID],
        principal: NamedDependency[Principal],
        sessions: NamedDependency[SessionService],
    ) -> None:
        """End a session of one's own; an admin may end anyone's."""
        await sessions.end(session_id, principal)

    @post("/password", rate_limit=PASSWORD, status_code=204, responses=raises(409, 429))
    async def change_password(
        self,
        data: JSONBody[PasswordChange],
        principal: NamedDependency[Principal],
        sessions: NamedDependency[SessionService],
    ) -> None:
        """Change one's own password; every other session ends."""
        await sessions.change_password(data, principal)
