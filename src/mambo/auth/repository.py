"""Questions about sessions."""

from datetime import datetime
from uuid import UUID

import sqlalchemy as sa

from mambo.auth.models import AuthSession
from mambo.db import Repository
from mambo.guards import Principal
from mambo.users.models import Subscription, User, UserProfile
from mambo.users.repository import has_live_subscription


class SessionRepository(Repository[AuthSession]):
    """Sign-ins."""

    model_type = AuthSession

    async def get_principal(self, session_id: UUID, user_id: UUID, now: datetime) -> Principal | None:
        """Whoever signed in, as the database knows them now; None when the session or the account has ended."""
        query = (
            sa.select(AuthSession.user_id, AuthSession.id, User.role, has_live_subscription(now), UserProfile.timezone)
            .join(User, User.id == AuthSession.user_id)
            .join(UserProfile, UserProfile.user_id == User.id)
            .join(Subscription, Subscription.user_id == User.id)
            .where(AuthSession.id == session_id, AuthSession.user_id == user_id, User.is_active)
            .where(AuthSession.revoked_at.is_(None), AuthSession.expires_at > now)
        )
        row = (await self.session.execute(query)).one_or_none()
        return Principal(*row) if row else None
