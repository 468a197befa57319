"""The signed-in person behind a request."""

import enum
from typing import Any
from uuid import UUID

from litestar.connection import ASGIConnection
from msgspec import Struct

from mambo.errors import NotSignedIn

Connection = ASGIConnection[Any, Any, Any, Any]


class Role(enum.StrEnum):
    """What an account may do."""

    USER = "user"
    INSTRUCTOR = "instructor"
    ADMIN = "admin"


class Principal(Struct, frozen=True):
    """The signed-in person behind a request, as the database knew them when it began."""

    user_id: UUID
    session_id: UUID
    role: Role
    is_subscribed: bool
    timezone: str

    @property
    def is_staff(self) -> bool:
        return self.role in {Role.INSTRUCTOR, Role.ADMIN}


def principal_of(connection: Connection) -> Principal:
    """The person behind the request.

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
    """The person behind the request, or None where anyone may ask."""
    visitor: Principal | None = request.scope.get("user")
    return visitor
