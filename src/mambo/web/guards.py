"""Guards: who may call a route, as in `guards = [requires_admin]`.

Every route has exactly one of these guards; a test checks all routes.
"""

from litestar.handlers.base import BaseRouteHandler

from mambo.errors import NotAllowed
from mambo.web.principal import Connection, Role, principal_of

IGNORES_TOKEN = "ignores_token"  # noqa: S105 - an option of a route: its `Authorization` header is not read


async def open_to_anyone(_: Connection, __: BaseRouteHandler) -> None:
    """Allow anyone; a token is read if one is sent."""


async def requires_user(connection: Connection, _: BaseRouteHandler) -> None:
    """Allow anyone who is signed in."""
    principal_of(connection)


async def requires_staff(connection: Connection, _: BaseRouteHandler) -> None:
    """Allow instructors and admins."""
    if not principal_of(connection).is_staff:
        raise NotAllowed("Only instructors and admins may do this.")


async def requires_admin(connection: Connection, _: BaseRouteHandler) -> None:
    """Allow admins."""
    if principal_of(connection).role is not Role.ADMIN:
        raise NotAllowed("Only admins may do this.")
