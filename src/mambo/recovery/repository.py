"""Questions about tokens that went out by e-mail."""

from datetime import datetime
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from mambo.db import Repository
from mambo.recovery.models import EmailToken, TokenPurpose
from mambo.users.models import User


def counts(purpose: TokenPurpose, token_hash: bytes, now: datetime) -> sa.ColumnElement[bool]:
    """Whether it is that token, for that purpose, in time, and its person can sign in."""
    return sa.and_(
        EmailToken.hash == token_hash,
        EmailToken.purpose == purpose,
        EmailToken.expires_at > now,
        EmailToken.user_id == User.id,
        User.is_active,
    )


class EmailTokenRepository(Repository[EmailToken]):
    """Tokens, by their hash."""

    model_type = EmailToken
    id_attribute = "hash"

    async def replace(self, token: EmailToken) -> None:
        """Store a token; an older one of the person for the same purpose counts no more."""
        values = {"hash": token.hash, "expires_at": token.expires_at, "created_at": token.created_at}
        query = insert(EmailToken).values(user_id=token.user_id, purpose=token.purpose, **values)
        await self.session.execute(query.on_conflict_do_update(index_elements=["user_id", "purpose"], set_=values))

    async def get_owner(self, purpose: TokenPurpose, token_hash: bytes, now: datetime) -> User | None:
        """Whose the token is; None when it counts no more."""
        return await self.session.scalar(sa.select(User).join(EmailToken, counts(purpose, token_hash, now)))

    async def use(self, purpose: TokenPurpose, token_hash: bytes, now: datetime) -> UUID | None:
        """Use a token up; returns whose it is. Of any number at once, one gets it and the others None."""
        query = sa.delete(EmailToken).where(counts(purpose, token_hash, now)).returning(EmailToken.user_id)
        return await self.session.scalar(query, execution_options={"synchronize_session": False})
