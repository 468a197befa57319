"""Who is behind a session, remembered for a second: a burst of requests asks the database once."""

from datetime import datetime
from uuid import UUID

import sqlalchemy as sa
from cachetools import TTLCache
from sqlalchemy.ext.asyncio import AsyncSession

from mambo.adapters.cache import Cache
from mambo.auth.repository import SEEN_EVERY, Known, PrincipalRepository
from mambo.auth.tokens import Claims
from mambo.db import Pool
from mambo.guards import Principal

MOST = 10_000
CHANNEL = "mambo:principals"


class Principals:
    """The people of this process's last second; what ends or changes one here is forgotten at once.

    Other workers hear of it through a cache that is shared, or find out within `seconds`.
    """

    def __init__(self, pool: Pool, *, seconds: float = 1.0) -> None:
        self._people = PrincipalRepository(pool)
        self._known: TTLCache[UUID, Known] = TTLCache(MOST, seconds)
        self._changes = 0
        self._cache: Cache | None = None

    def share(self, cache: Cache) -> None:
        """Tell other workers whom to forget, and hear it from them; after a silence everyone is."""
        self._cache = cache
        cache.subscribe(CHANNEL, lambda user_id: self.forget(UUID(user_id) if user_id else None))

    async def get(self, claims: Claims, now: datetime) -> Principal | None:
        """Whom the claims of a token name; None when the session or the account has ended."""
        known = self._known.get(claims.session_id)
        if known is None or known.until <= now or known.principal.user_id != claims.user_id:
            known = await self._ask(claims, now)
        return known.principal if known else None

    async def _ask(self, claims: Claims, now: datetime) -> Known | None:
        changes = self._changes
        known = await self._people.get(claims.session_id, claims.user_id, now)
        if known is not None and known.last_seen_at < now - SEEN_EVERY:
            await self._people.see(claims.session_id, now)
        # What was read while someone changed something may be what it was before.
        if known is not None and changes == self._changes:
            self._known[claims.session_id] = known
        return known

    def forget(self, user_id: UUID | None = None) -> None:
        """Forget a person, or everyone."""
        self._changes += 1
        gone = [one for one, known in self._known.items() if user_id in {None, known.principal.user_id}]
        for session_id in gone:
            self._known.pop(session_id, None)

    def forget_after_commit(self, session: AsyncSession, user_id: UUID) -> None:
        """Forget a person here and elsewhere, as soon as the session's transaction is committed."""

        def forget(_: object) -> None:
            self.forget(user_id)
            if self._cache is not None:
                self._cache.publish(CHANNEL, str(user_id))

        sa.event.listen(session.sync_session, "after_commit", forget, once=True)
