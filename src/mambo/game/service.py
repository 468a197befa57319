"""Corrections of XP, and the published rules with their entity tag."""

from datetime import datetime
from functools import cache
from uuid import UUID

from litestar.di import NamedDependency
from msgspec.structs import asdict
from sqlalchemy.ext.asyncio import AsyncSession
from uuid_utils.compat import uuid7

from mambo.errors import Conflict, Invalid
from mambo.game.models import XpKind
from mambo.game.repository import LedgerRepository
from mambo.game.schemas import Adjusted, Adjustment, Rules, XpRow
from mambo.web.principal import Principal
from mambo.web.responses import EncodedResponse, encode, etag_of
from mambo.web.schemas import as_struct


class GameService:
    """Corrects XP."""

    def __init__(self, ledger: LedgerRepository, now: datetime) -> None:
        self.ledger, self.now = ledger, now

    async def adjust(self, user_id: UUID, data: Adjustment, actor: Principal) -> Adjusted:
        """Give or take XP, once for a `source_id`.

        Raises:
            Conflict: the total would be below zero (by the database), or the `source_id` stands for something else.
            Invalid: the amount is zero.
            NotFound: nobody has this id.

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
        event, total, level = await self.ledger.get_adjustment(user_id, source_id)
        if (event.amount, event.reason) != (data.amount, data.reason.strip()):
            raise Conflict("This source_id stands for another adjustment already: send a new one.")
        return Adjusted(**asdict(as_struct(event, XpRow)), new_total_xp=total, new_level=level)


@cache
def published_rules() -> EncodedResponse:
    body = encode(Rules())
    return EncodedResponse(body, etag_of(body))


def provide_game_service(session: NamedDependency[AsyncSession], now: NamedDependency[datetime]) -> GameService:
    return GameService(LedgerRepository(session), now)
