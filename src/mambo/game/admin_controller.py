"""`/api/admin/users/{id}/xp`: corrections of XP, for admins."""

from uuid import UUID

from litestar import post
from litestar.di import NamedDependency, Provide
from litestar.params import FromPath, JSONBody

from mambo.game.schemas import Adjusted, Adjustment
from mambo.game.service import GameService, provide_game_service
from mambo.web.guards import requires_admin
from mambo.web.openapi import raises
from mambo.web.principal import Principal


@post(
    "/api/admin/users/{user_id:uuid}/xp",
    tags=["Admin: people"],
    guards=[requires_admin],
    dependencies={"service": Provide(provide_game_service, sync_to_thread=False)},
    responses=raises(404, 409),
)
async def adjust_xp(
    user_id: FromPath[UUID],
    data: JSONBody[Adjustment],
    principal: NamedDependency[Principal],
    service: NamedDependency[GameService],
) -> Adjusted:
    """Give or take XP with a reason, which the learner reads; a total does not go below zero."""
    return await service.adjust(user_id, data, principal)
