"""A cache of principals, so that of many requests with one token only the first reads the token and the database."""

from collections.abc import Callable
from datetime import datetime
from typing import TypeAlias
from uuid import UUID

import sqlalchemy as sa
from cachetools import TTLCache
from sqlalchemy.ext.asyncio import AsyncSession

from mambo.adapters.cache import Cache
from mambo.auth.repository import CachedPrincipal, PrincipalRepository
from mambo.auth.rules import SEEN_EVERY
from mambo.auth.tokens import AccessTokens, Claims
from mambo.web.principal import Principal

MAX_PRINCIPALS = 10_000
CHANNEL = "mambo:principals"

ForgetPrincipal: TypeAlias = Callable[[UUID], None]
"""Forgets what is cached of a person, as soon as the request's transaction has committed."""


class PrincipalCache:
    """The principals of the last `seconds` in this process.

    A change of an account or session takes effect at once in the process that makes it. Other workers learn of it
    through `cache`, if there is one, or within `seconds`.
    """

    def __init__(
        self, principals: PrincipalRepository, tokens: AccessTokens, cache: Cache | None, *, seconds: float = 1.0
    ) -> None:
        self._principals, self._tokens, self._cache = principals, tokens, cache
        self._cached: TTLCache[str, CachedPrincipal] = TTLCache(MAX_PRINCIPALS, seconds)
        self._changes = 0

    def listen(self) -> None:
        """Forget the people that other workers name, and everyone when messages may have been missed."""
        if self._cache is not None:
            self._cache.subscribe(CHANNEL, lambda user_id: self.forget(UUID(user_id) if user_id else None))

    async def get(self, token: str, now: datetime) -> Principal | None:
        """Return the principal of an access token; None when the session has ended or the account is disabled.

        Raises:
            NotSignedIn: the token is not one of ours, was changed or has expired.

        """
        cached = self._cached.get(token)
        if cached is None or cached.until <= now:
            cached = await self._load(token, self._tokens.read(token, now), now)
        return cached.principal if cached else None

    async def _load(self, token: str, claims: Claims, now: datetime) -> CachedPrincipal | None:
        changes = self._changes
        loaded = await self._principals.get(claims.session_id, claims.user_id, now)
        if loaded is not None and loaded.last_seen_at < now - SEEN_EVERY:
            await self._principals.record_use(claims.session_id, now)
        # After a change during the statement, the row may be the one before the change.
        if loaded is not None and changes == self._changes:
            self._cached[token] = loaded
        return loaded

    def forget(self, user_id: UUID | None = None) -> None:
        """Forget a person, or everyone."""
        self._changes += 1
        tokens = [token for token, cached in self._cached.items() if user_id in {None, cached.principal.user_id}]
        for token in tokens:
            self._cached.pop(token, None)

    def forget_after_commit(self, session: AsyncSession, user_id: UUID) -> None:
        """Forget a person in all workers as soon as the session's transaction has committed."""

        def forget(_: object) -> None:
            self.forget(user_id)
            if self._cache is not None:
                self._cache.publish(CHANNEL, str(user_id))

        sa.event.listen(session.sync_session, "after_commit", forget, once=True)
