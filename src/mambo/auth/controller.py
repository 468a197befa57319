"""`/api/auth`: making an account and signing in."""

from typing import Any

import msgspec
from litestar import Controller, Request, post
from litestar.datastructures import CacheControlHeader
from litestar.di import NamedDependency, Provide
from litestar.params import JSONBody

from mambo.auth.middleware import IGNORES_TOKEN
from mambo.auth.schemas import Credentials, OAuth2Form, Registration, Token
from mambo.auth.service import SignIn, provide_sign_in
from mambo.errors import WrongMediaType
from mambo.guards import open_to_anyone
from mambo.openapi import raises


async def provide_credentials(request: Request[Any, Any, Any]) -> Credentials:
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
    dependencies = {"sign_in": Provide(provide_sign_in), "credentials": Provide(provide_credentials)}

    @post("/register", responses=raises(409))
    async def register(self, data: JSONBody[Registration], sign_in: NamedDependency[SignIn]) -> Token:
        """Make an account and sign it in."""
        return await sign_in.register(data)

    @post("/token", status_code=200, responses=raises(401))
    async def create_token(self, credentials: NamedDependency[Credentials], sign_in: NamedDependency[SignIn]) -> Token:
        """Sign in with JSON, or with OAuth2's password form."""
        return await sign_in.sign_in(credentials)
