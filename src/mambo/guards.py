"""Who asks, and the sentences every route begins with: `guards = [requires_admin]`.

Each route names exactly one of these; a test walks all routes and fails on one that does not.
"""

import enum
from typing import Any
from uuid import UUID

from litestar.connection import ASGIConnection
from litestar.handlers.base import BaseRouteHandler
from msgspec import Struct

from mambo.errors import NotAllowed, NotSignedIn

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


async def open_to_anyone(_: Connection, __: BaseRouteHandler) -> None:
    """Anyone; a token is read where one is sent."""


async def requires_user(connection: Connection, _: BaseRouteHandler) -> None:
    """Anyone who is signed in."""
    principal_of(connection)


async def requires_staff(connection: Connection, _: BaseRouteHandler) -> None:
    """Instructors and admins."""
    if not principal_of(connection).is_staff:
        raise NotAllowed("Only instructors and admins may do this.")


async def requires_admin(connection: Connection, _: BaseRouteHandler) -> None:
    """Admins."""
    if principal_of(connection).role is not Role.ADMIN:
        raise NotAllowed("Only admins may do this.")


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
