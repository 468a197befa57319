"""Corrections of XP, and the published rules with their entity tag."""

from datetime import datetime
from functools import cache
from uuid import UUID

from litestar.di import NamedDependency
from sqlalchemy.ext.asyncio import AsyncSession
from uuid_utils.compat import uuid7

from mambo.errors import Conflict, Invalid
from mambo.game.models import XpKind
from mambo.game.repository import LedgerRepository
from mambo.game.schemas import Adjusted, Adjustment, Rules
from mambo.web.principal import Principal
from mambo.web.responses import EncodedResponse, encode, etag_of


class GameService:
    """Corrects XP."""

    def __init__(self, ledger: LedgerRepository, now: datetime) -> None:
        self.ledger, self.now = ledger, now

    async def adjust(self, user_id: UUID, data: Adjustment, actor: Principal) -> Adjusted:
        """Give or take XP, once for a `source_id`.

        Raises:
            Conflict: the `source_id` belongs to another adjustment.
            IntegrityError: the total would be below zero.
            Invalid: the amount is zero.
            NotFound: there is no such learner.

        """
        if data.amount == 0:
            raise Invalid.field("amount", "must not be 0")
        source_id = data.source_id or uuid7()
        await self.ledger.pay(
            user_id,
            XpKind.ADJUSTMENT,
            source_id,
            data.amount,
            self.now,
            actor_id=actor.user_id,
            reason=data.reason.strip(),
        )
        adjusted = await self.ledger.get_adjustment(user_id, source_id)
        if (adjusted.amount, adjusted.reason) != (data.amount, data.reason.strip()):
            raise Conflict("This source_id belongs to another adjustment: send a new one.")
        return adjusted


@cache
def published_rules() -> EncodedResponse:
    """Return the rules of the game as JSON, encoded once for each process."""
    body = encode(Rules())
    return EncodedResponse(body, etag_of(body))


def provide_game_service(session: NamedDependency[AsyncSession], now: NamedDependency[datetime]) -> GameService:
    return GameService(LedgerRepository(session), now)
