"""Request and response bodies of `/api/auth`."""

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from msgspec import Meta, Struct

from mambo.users.models import LevelTag
from mambo.web.schemas import Input, Output, RequiredLine

Email = Annotated[str, Meta(min_length=1, max_length=254, examples=["ana@example.com"])]
NewPassword = Annotated[str, Meta(min_length=8, max_length=128, examples=["back on two, forward on six"])]
Password = Annotated[str, Meta(min_length=1, max_length=128)]


class Registration(Input):
    """A new account."""

    email: Email
    password: NewPassword
    first_name: RequiredLine
    last_name: RequiredLine
    current_level_tag: LevelTag | None = None
    timezone: str | None = None


class Credentials(Input):
    """An e-mail address and a password."""

    email: Email
    password: Password


class OAuth2Form(Struct, kw_only=True):
    """The password form of OAuth2 (RFC 6749 4.3), which calls the e-mail address username; other fields are ignored."""

    username: Email
    password: Password
    grant_type: Literal["password"] = "password"


class Token(Output):
    """The tokens of a session, and their lifetimes in seconds.

    A client that uses only the access token signs in again when it has expired; others refresh.
    """

    access_token: str
    expires_in: int
    refresh_token: str
    refresh_expires_in: int
    token_type: Literal["bearer"] = "bearer"  # noqa: S105 - RFC 6750's word


class Refresh(Input):
    """The refresh token of the last response; each is used once."""

    refresh_token: Annotated[str, Meta(min_length=1, max_length=200)]


class PasswordChange(Input):
    """A new password, and the current one."""

    current_password: Password
    new_password: NewPassword


class Session(Output):
    """A sign-in on a device; `current` marks the session of the request."""

    id: UUID
    device: str
    last_seen_at: datetime
    created_at: datetime
    current: bool


EmailedToken = Annotated[str, Meta(min_length=1, max_length=200)]


class ForgottenPassword(Input):
    """The address of the account whose password is forgotten."""

    email: Email


class PasswordReset(Input):
    """The token of the e-mail's link, and the new password."""

    token: EmailedToken
    new_password: NewPassword


class Verification(Input):
    """The token of the e-mail's link."""

    token: EmailedToken


class OnItsWay(Output):
    """An e-mail is being sent; `detail` is a sentence for the person."""

    detail: str
