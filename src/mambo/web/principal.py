"""The signed-in person behind a request."""

import enum
from typing import Any
from uuid import UUID

from litestar.connection import ASGIConnection
from msgspec import Struct

from mambo.errors import NotSignedIn

Connection = ASGIConnection[Any, Any, Any, Any]


class Role(enum.StrEnum):
    """What an account may do: `user` is a learner, the other two are staff."""

    USER = "user"
    INSTRUCTOR = "instructor"
    ADMIN = "admin"


class Principal(Struct, frozen=True):
    """The signed-in person, as the database had them when the request began (at most a second earlier)."""

    user_id: UUID
    session_id: UUID
    role: Role
    is_subscribed: bool
    timezone: str

    @property
    def is_staff(self) -> bool:
        return self.role in {Role.INSTRUCTOR, Role.ADMIN}


def principal_of(connection: Connection) -> Principal:
    """Return the signed-in person.

    Raises:
        NotSignedIn: nobody is signed in.

    """
    principal: Principal | None = connection.scope.get("user")
    if principal is None:
        raise NotSignedIn
    return principal


async def provide_principal(request: Connection) -> Principal:
    return principal_of(request)


async def provide_visitor(request: Connection) -> Principal | None:
    """Return the signed-in person, or None."""
    visitor: Principal | None = request.scope.get("user")
    return visitor
