"""`/api/admin/users/{id}/sessions`: anyone's sessions, for admins."""

from datetime import datetime
from uuid import UUID

from litestar import Controller, delete
from litestar.datastructures import CacheControlHeader
from litestar.di import NamedDependency, Provide
from litestar.params import FromPath

from mambo.auth.repository import LiveSessionRepository, provide_live_sessions
from mambo.auth.schemas import Session
from mambo.auth.service import SessionService, provide_session_service
from mambo.web.guards import requires_admin
from mambo.web.handlers import fast_get


class SessionAdminController(Controller):
    path = "/api/admin/users/{user_id:uuid}/sessions"
    tags = ("Admin: people",)
    guards = (requires_admin,)
    dependencies = {
        "sessions": Provide(provide_session_service, sync_to_thread=False),
        "live_sessions": Provide(provide_live_sessions, sync_to_thread=False),
    }

    @fast_get("/", cache_control=CacheControlHeader(no_store=True))
    async def list_sessions_of_user(
        self,
        user_id: FromPath[UUID],
        live_sessions: NamedDependency[LiveSessionRepository],
        now: NamedDependency[datetime],
    ) -> list[Session]:
        """List a person's sessions, the last seen first."""
        return await live_sessions.list_of(user_id, now)

    @delete()
    async def end_sessions_of_user(self, user_id: FromPath[UUID], sessions: NamedDependency[SessionService]) -> None:
        """End all sessions of a person."""
        await sessions.end_all(user_id)
