"""What goes in and out of getting back in."""

from typing import Annotated

from msgspec import Meta

from mambo.auth.schemas import Email, NewPassword
from mambo.schema import Input, Output

EmailedToken = Annotated[str, Meta(min_length=1, max_length=200)]


class ForgottenPassword(Input):
    """Whose password is forgotten."""

    email: Email


class PasswordReset(Input):
    """The token of the e-mail's link, and the password from now on."""

    token: EmailedToken
    new_password: NewPassword


class Verification(Input):
    """The token of the e-mail's link."""

    token: EmailedToken


class OnItsWay(Output):
    """An e-mail goes out; `detail` is a sentence for the person."""

    detail: str
