"""Who is behind a token, remembered for a second: of a burst of requests one reads the token and asks the database."""

from datetime import datetime
from uuid import UUID

import sqlalchemy as sa
from cachetools import TTLCache
from sqlalchemy.ext.asyncio import AsyncSession

from mambo.adapters.cache import Cache
from mambo.auth.repository import SEEN_EVERY, CachedPrincipal, PrincipalRepository
from mambo.auth.tokens import AccessTokens, Claims
from mambo.database.pool import Pool
from mambo.web.principal import Principal

MOST = 10_000
CHANNEL = "mambo:principals"


class PrincipalCache:
    """The people of this process's last second; what ends or changes one here is forgotten at once.

    Other workers hear of it through a cache that is shared, or find out within `seconds`; a token that is over is
    noticed within them too.
    """

    def __init__(self, pool: Pool, tokens: AccessTokens, cache: Cache | None, *, seconds: float = 1.0) -> None:
        self._people, self._tokens = PrincipalRepository(pool), tokens
        self._known: TTLCache[str, CachedPrincipal] = TTLCache(MOST, seconds)
        self._changes = 0
        self._cache = cache

    def listen(self) -> None:
        """Forget the people that other workers name, and everyone once messages may have been missed."""
        if self._cache is not None:
            self._cache.subscribe(CHANNEL, lambda user_id: self.forget(UUID(user_id) if user_id else None))

    async def get(self, token: str, now: datetime) -> Principal | None:
        """Whom an access token names; None when the session or the account has ended.

        Raises:
            NotSignedIn: the token is not one of ours, was changed, or is over.

        """
        known = self._known.get(token)
        if known is None or known.until <= now:
            known = await self._ask(token, self._tokens.read(token, now), now)
        return known.principal if known else None

    async def _ask(self, token: str, claims: Claims, now: datetime) -> CachedPrincipal | None:
        changes = self._changes
        known = await self._people.get(claims.session_id, claims.user_id, now)
        if known is not None and known.last_seen_at < now - SEEN_EVERY:
            await self._people.see(claims.session_id, now)
        # What was read while someone changed something may be what it was before.
        if known is not None and changes == self._changes:
            self._known[token] = known
        return known

    def forget(self, user_id: UUID | None = None) -> None:
        """Forget a person, or everyone."""
        self._changes += 1
        gone = [token for token, known in self._known.items() if user_id in {None, known.principal.user_id}]
        for token in gone:
            self._known.pop(token, None)

    def forget_after_commit(self, session: AsyncSession, user_id: UUID) -> None:
        """Forget a person here and elsewhere, as soon as the session's transaction is committed."""

        def forget(_: object) -> None:
            self.forget(user_id)
            if self._cache is not None:
                self._cache.publish(CHANNEL, str(user_id))

        sa.event.listen(session.sync_session, "after_commit", forget, once=True)
