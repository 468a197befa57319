"""`/api/auth`: registration, sign-in, refresh, forgotten passwords, and a person's own sessions."""

from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
from litestar import Controller, Request, delete, post
from litestar.datastructures import CacheControlHeader
from litestar.di import NamedDependency, Provide
from litestar.params import FromPath, JSONBody

from mambo.auth.recovery import RecoveryService, provide_recovery_service
from mambo.auth.refresh import RefreshService, provide_refresh_service
from mambo.auth.repository import LiveSessionRepository, provide_live_sessions
from mambo.auth.schemas import (
    Credentials,
    ForgottenPassword,
    OAuth2Form,
    OnItsWay,
    PasswordChange,
    PasswordReset,
    Refresh,
    Registration,
    Session,
    Token,
    Verification,
)
from mambo.auth.service import SessionService, SignInService, provide_session_service, provide_sign_in_service
from mambo.errors import WrongMediaType
from mambo.limits.rules import FORGOT_ADDRESS, PASSWORD, REGISTER
from mambo.web.guards import IGNORES_TOKEN, open_to_anyone, requires_user
from mambo.web.handlers import fast_get
from mambo.web.openapi import raises
from mambo.web.principal import Principal, principal_of

NO_STORE = CacheControlHeader(no_store=True)


async def read_credentials(request: Request[Any, Any, Any]) -> Credentials:
    """Return the credentials of a JSON body or of OAuth2's password form.

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
    """The routes for people who are not signed in."""

    path = "/api/auth"
    tags = ("Authentication",)
    guards = (open_to_anyone,)
    opt = {IGNORES_TOKEN: True}  # a client may send its old token when it signs in again
    cache_control = NO_STORE
    dependencies = {
        "sign_in": Provide(provide_sign_in_service, sync_to_thread=False),
        "refresh_tokens": Provide(provide_refresh_service, sync_to_thread=False),
        "sessions": Provide(provide_session_service, sync_to_thread=False),
        "recovery": Provide(provide_recovery_service, sync_to_thread=False),
    }

    @post("/register", rate_limit=REGISTER, responses=raises(409, 429))
    async def register(
        self,
        data: JSONBody[Registration],
        sign_in: NamedDependency[SignInService],
    ) -> Token:
        """Create an account and sign it in; a link to confirm the address is sent by e-mail."""
        return await sign_in.register(data)

    @post("/token", status_code=200, responses=raises(401, 429))
    async def create_token(self, request: Request[Any, Any, Any], sign_in: NamedDependency[SignInService]) -> Token:
        """Sign in with JSON, or with OAuth2's password form."""
        return await sign_in.sign_in(await read_credentials(request))

    @post("/refresh", status_code=200, responses=raises(401, 429))
    async def refresh(self, data: JSONBody[Refresh], refresh_tokens: NamedDependency[RefreshService]) -> Token:
        """Exchange a refresh token, which works once, and for ten seconds again in case the response was lost."""
        return await refresh_tokens.refresh(data.refresh_token)

    @post("/forgot-password", status_code=202, rate_limit=FORGOT_ADDRESS, responses=raises(429))
    async def forget_password(
        self,
        data: JSONBody[ForgottenPassword],
        recovery: NamedDependency[RecoveryService],
    ) -> OnItsWay:
        """Send a link to set a new password if the address has an account; the response is always the same."""
        await recovery.request_reset(data.email)
        return OnItsWay(detail="If there is an account with this address, an e-mail is on its way to it.")

    @post("/reset-password", status_code=204)
    async def reset_password(self, data: JSONBody[PasswordReset], recovery: NamedDependency[RecoveryService]) -> None:
        """Set a new password with the token of the e-mail; all sessions end."""
        await recovery.reset_password(data.token, data.new_password)

    @post("/verify-email", status_code=204)
    async def verify_email(self, data: JSONBody[Verification], recovery: NamedDependency[RecoveryService]) -> None:
        """Confirm an address with the token of the e-mail."""
        await recovery.verify_email(data.token)


class SessionController(Controller):
    """The routes for people who are signed in."""

    path = "/api/auth"
    tags = ("Authentication",)
    guards = (requires_user,)
    dependencies = {
        "sessions": Provide(provide_session_service, sync_to_thread=False),
        "live_sessions": Provide(provide_live_sessions, sync_to_thread=False),
        "recovery": Provide(provide_recovery_service, sync_to_thread=False),
    }

    @post("/logout", status_code=204)
    async def log_out(self, principal: NamedDependency[Principal], sessions: NamedDependency[SessionService]) -> None:
        """End this session; its tokens stop working everywhere."""
        await sessions.end(principal.session_id, principal)

    @fast_get("/sessions", cache_control=NO_STORE)
    async def list_sessions(
        self,
        request: Request[Any, Any, Any],
        live_sessions: NamedDependency[LiveSessionRepository],
        now: NamedDependency[datetime],
    ) -> list[Session]:
        """List your own sessions, the last seen first."""
        principal = principal_of(request)
        return await live_sessions.list_of(principal.user_id, now, current=principal.session_id)

    @delete("/sessions/{session_id:uuid}", responses=raises(404))
    async def end_session(
        self,
        session_id: FromPath[UUID],
        principal: NamedDependency[Principal],
        sessions: NamedDependency[SessionService],
    ) -> None:
        """End one of your own sessions; an admin may end anyone's."""
        await sessions.end(session_id, principal)

    @post("/password", rate_limit=PASSWORD, status_code=204, responses=raises(409, 429))
    async def change_password(
        self,
        data: JSONBody[PasswordChange],
        principal: NamedDependency[Principal],
        sessions: NamedDependency[SessionService],
    ) -> None:
        """Change your own password; all other sessions end."""
        await sessions.change_password(data, principal)

    @post("/resend-verification", status_code=202, responses=raises(409, 429))
    async def resend_verification(
        self,
        principal: NamedDependency[Principal],
        recovery: NamedDependency[RecoveryService],
    ) -> OnItsWay:
        """Send the link that confirms your address again; older links stop working."""
        await recovery.request_verification(principal.user_id)
        return OnItsWay(detail="An e-mail is on its way to you.")
