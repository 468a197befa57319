"""The exchange of refresh tokens."""

from datetime import datetime
from uuid import UUID

import structlog
from litestar.di import NamedDependency
from sqlalchemy.ext.asyncio import AsyncSession

from mambo.auth.principals import PrincipalCache
from mambo.auth.repository import RefreshTokenRepository, RefreshTokenState, SessionRepository
from mambo.auth.rules import is_reuse, refresh_token_end
from mambo.auth.schemas import Token
from mambo.auth.tokens import SIGN_IN_AGAIN, Claims, TokenIssuer, hash_of
from mambo.database.session import Transactions
from mambo.errors import NotSignedIn
from mambo.limits.rules import REFRESH
from mambo.limits.service import RateLimiter

log = structlog.get_logger(__name__)


class RefreshService:
    """Exchanges refresh tokens, in transactions of its own: a reuse is refused, and still ends the session."""

    def __init__(
        self,
        transactions: Transactions,
        tokens: TokenIssuer,
        principals: PrincipalCache,
        limiter: RateLimiter,
        now: datetime,
    ) -> None:
        self.transactions, self.tokens, self.principals = transactions, tokens, principals
        self.limiter, self.now = limiter, now

    async def refresh(self, token: str) -> Token:
        """Return new tokens for a refresh token; a repeated request gets the same refresh token again.

        A token that is used again too late, or after its child was used, was stolen: its session ends.

        Raises:
            NotSignedIn: the token is unknown, expired or was used, or its session has ended.
            TooMany: the session was refreshed too often; the token can still be used.

        """
        child = self.tokens.refresh.child_of(token)
        async with self.transactions.begin() as session:
            session_id = await RefreshTokenRepository(session).use(hash_of(token), self.now)
            if session_id is not None:
                return await self._exchange(session, session_id, child)
            state = await RefreshTokenRepository(session).get_state(hash_of(token), hash_of(child), self.now)
        return await self._repeat(state, child)

    async def _exchange(self, session: AsyncSession, session_id: UUID, child: str) -> Token:
        live = await SessionRepository(session).record_use(session_id, self.now)
        if live is None:
            raise NotSignedIn(SIGN_IN_AGAIN)
        await self.limiter.hit(REFRESH, str(session_id))
        user_id, session_end = live
        await RefreshTokenRepository(session).store(child, session_id, refresh_token_end(self.now, session_end))
        return self.tokens.issue(Claims(user_id, session_id), child, self.now, session_end)

    async def _repeat(self, state: RefreshTokenState | None, child: str) -> Token:
        """Return the tokens of a lost response again, or end the session of a stolen token."""
        if state is None or state.used_at is None or not state.is_session_live:
            raise NotSignedIn(SIGN_IN_AGAIN)
        if is_reuse(state.used_at, self.now, is_child_unused=state.is_child_unused):
            await self._end_session(state)
            raise NotSignedIn(SIGN_IN_AGAIN)
        if state.is_child_unused is None:  # it was made with another secret key, and cannot be made again
            raise NotSignedIn(SIGN_IN_AGAIN)
        return self.tokens.issue(Claims(state.user_id, state.session_id), child, self.now, state.session_end)

    async def _end_session(self, state: RefreshTokenState) -> None:
        async with self.transactions.begin() as session:
            self.principals.forget_after_commit(session, state.user_id)
            await SessionRepository(session).end(state.session_id, self.now)
        log.warning("auth.refresh_reuse", user_id=str(state.user_id), session_id=str(state.session_id))


def provide_refresh_service(
    transactions: NamedDependency[Transactions],
    token_issuer: NamedDependency[TokenIssuer],
    principals: NamedDependency[PrincipalCache],
    limiter: NamedDependency[RateLimiter],
    now: NamedDependency[datetime],
) -> RefreshService:
    return RefreshService(transactions, token_issuer, principals, limiter, now)
