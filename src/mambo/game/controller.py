"""`/api/progress/{xp,streak}`, the leaderboard, and the published rules of the game."""

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from litestar import Controller, Request, get
from litestar.di import NamedDependency, Provide
from litestar.params import QueryParameter

from mambo.game.repository import GameReadRepository, provide_game_reads
from mambo.game.rules import first_day_shown, local_date, week_of
from mambo.game.schemas import Leader, Rules, StreakView, XpRow, to_leaders, to_streak
from mambo.game.service import published_rules
from mambo.web.guards import open_to_anyone, requires_user
from mambo.web.handlers import fast_get
from mambo.web.principal import Principal
from mambo.web.responses import BytesResponse, conditional_response, etag_response_spec
from mambo.web.schemas import Page

RULES_KEPT = b"public, max-age=300"
Limit = Annotated[int, QueryParameter(ge=1, le=100)]


class GameController(Controller):
    path = "/api"
    tags = ("Game",)
    guards = (requires_user,)
    dependencies = {"game": Provide(provide_game_reads, sync_to_thread=False)}

    @fast_get("/progress/xp")
    async def list_xp(
        self,
        principal: NamedDependency[Principal],
        game: NamedDependency[GameReadRepository],
        limit: Limit = 50,
        cursor: Annotated[UUID | None, QueryParameter(description="The next_cursor of the page before")] = None,
    ) -> Page[XpRow]:
        """Your own XP, payment by payment, the newest first."""
        return await game.get_xp(principal.user_id, limit=limit, cursor=cursor)

    @fast_get("/progress/streak")
    async def get_streak(
        self,
        principal: NamedDependency[Principal],
        game: NamedDependency[GameReadRepository],
        now: NamedDependency[datetime],
    ) -> StreakView:
        """Your own streak, and the days it consists of."""
        today = local_date(now, principal.timezone)
        runs = await game.get_runs(principal.user_id, since=first_day_shown(today))
        return to_streak(runs, today, principal.timezone)

    @fast_get("/users/leaderboard")
    async def get_leaderboard(
        self,
        game: NamedDependency[GameReadRepository],
        now: NamedDependency[datetime],
        period: Annotated[Literal["all", "week"], QueryParameter(description="Ever, or since Monday UTC")] = "all",
        limit: Limit = 50,
    ) -> list[Leader]:
        """The learners with most XP, ever or this week."""
        return to_leaders(await game.get_leaders(week_of(now) if period == "week" else None, limit=limit))


@get("/api/game/rules", tags=["Game"], guards=[open_to_anyone], responses=etag_response_spec(Rules))
async def get_rules(request: Request[Any, Any, Any]) -> BytesResponse:
    """The rules of the game."""
    return conditional_response(request.scope, published_rules(), RULES_KEPT)
