"""Counts, where there is no Redis."""

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from mambo.database.base import Base


class RateCount(Base):
    """How often within the window that ends at `ends_at` (milliseconds of Unix time); a crash may empty the table."""

    __tablename__ = "rate_count"
    __table_args__ = (sa.Index("ix_rate_count_ends_at", "ends_at"), {"prefixes": ["UNLOGGED"]})

    key: Mapped[str] = mapped_column(primary_key=True)
    count: Mapped[int]
    ends_at: Mapped[int] = mapped_column(sa.BigInteger)
