"""Counters of rate limits, where there is no Redis."""

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from mambo.database.base import Base


class RateCount(Base):
    """The count of the window that ends at `ends_at`, in milliseconds of Unix time.

    The table is unlogged: a crash of PostgreSQL empties it.
    """

    __tablename__ = "rate_count"
    __table_args__ = (sa.Index("ix_rate_count_ends_at", "ends_at"), {"prefixes": ["UNLOGGED"]})

    key: Mapped[str] = mapped_column(primary_key=True)
    count: Mapped[int]
    ends_at: Mapped[int] = mapped_column(sa.BigInteger)
