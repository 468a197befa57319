"""`/api/admin/users/{id}/sessions`: anyone's sessions, for admins."""

from uuid import UUID

from litestar import Controller, delete, get
from litestar.datastructures import CacheControlHeader
from litestar.di import NamedDependency, Provide
from litestar.params import FromPath

from mambo.auth.schemas import Session
from mambo.auth.service import SessionService, provide_session_service
from mambo.web.guards import requires_admin


class SessionAdminController(Controller):
    path = "/api/admin/users/{user_id:uuid}/sessions"
    tags = ("Admin: people",)
    guards = (requires_admin,)
    dependencies = {"sessions": Provide(provide_session_service)}

    @get(cache_control=CacheControlHeader(no_store=True))
    async def list_sessions_of_user(
        self, user_id: FromPath[UUID], sessions: NamedDependency[SessionService]
    ) -> list[Session]:
        """A person's sessions, the last seen first."""
        return await sessions.get(user_id)

    @delete()
    async def end_sessions_of_user(self, user_id: FromPath[UUID], sessions: NamedDependency[SessionService]) -> None:
        """End all sessions of a person."""
        await sessions.end_all(user_id)
