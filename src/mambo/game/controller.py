"""`/api/progress/{xp,streak}`, the leaderboard, and the rules of the game."""

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from litestar import Controller, Request, get
from litestar.di import NamedDependency, Provide
from litestar.params import QueryParameter

from mambo.game.repository import LeaderboardRepository, LedgerRepository, provide_leaderboard, provide_ledger
from mambo.game.rules import week_of
from mambo.game.schemas import Leader, Rules, StreakView, XpRow
from mambo.game.service import GameService, provide_game_service, published_rules
from mambo.users.rules import public_name
from mambo.web.guards import open_to_anyone, requires_user
from mambo.web.principal import Principal
from mambo.web.responses import BytesResponse, conditional_response, etag_response_spec
from mambo.web.schemas import Page, as_struct

RULES_KEPT = b"public, max-age=300"
Limit = Annotated[int, QueryParameter(ge=1, le=100)]


class GameController(Controller):
    path = "/api"
    tags = ("Game",)
    guards = (requires_user,)
    dependencies = {
        "game": Provide(provide_game_service),
        "ledger": Provide(provide_ledger),
        "leaderboard": Provide(provide_leaderboard),
    }

    @get("/progress/xp")
    async def list_xp(
        self,
        principal: NamedDependency[Principal],
        ledger: NamedDependency[LedgerRepository],
        limit: Limit = 50,
        cursor: Annotated[UUID | None, QueryParameter(description="The next_cursor of the page before")] = None,
    ) -> Page[XpRow]:
        """One's own XP, payment by payment, the newest first."""
        found = await ledger.get_events(principal.user_id, limit=limit + 1, before=cursor)
        items = [as_struct(event, XpRow) for event in found[:limit]]
        return Page(items=items, next_cursor=str(items[-1].id) if len(found) > limit else None)

    @get("/progress/streak")
    async def get_streak(self, principal: NamedDependency[Principal], game: NamedDependency[GameService]) -> StreakView:
        """One's own streak, and the days that make it."""
        return await game.get_streak(principal)

    @get("/users/leaderboard")
    async def get_leaderboard(
        self,
        leaderboard: NamedDependency[LeaderboardRepository],
        now: NamedDependency[datetime],
        period: Annotated[Literal["all", "week"], QueryParameter(description="Ever, or since Monday UTC")] = "all",
        limit: Limit = 50,
    ) -> list[Leader]:
        """The learners with most XP, ever or this week."""
        leaders = await leaderboard.get_leaders(week_of(now) if period == "week" else None, limit=limit)
        return [
            Leader(
                rank=rank,
                user_id=row.user_id,
                name=public_name(row.first_name, row.last_name),
                avatar_url=row.avatar_url,
                xp_total=row.xp_total,
                level=row.level,
            )
            for rank, row in enumerate(leaders, 1)
        ]


@get("/api/game/rules", tags=["Game"], guards=[open_to_anyone], responses=etag_response_spec(Rules))
async def get_rules(request: Request[Any, Any, Any]) -> BytesResponse:
    """The rules of the game."""
    return conditional_response(request.scope, published_rules(), RULES_KEPT)
