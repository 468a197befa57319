"""Who asks, and the sentences every route begins with: `guards = [requires_admin]`.

Each route names exactly one of these; a test walks all routes and fails on one that does not.
"""

from litestar.handlers.base import BaseRouteHandler

from mambo.errors import NotAllowed
from mambo.web.principal import Connection, Role, principal_of


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
