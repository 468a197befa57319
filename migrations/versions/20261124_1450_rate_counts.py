"""Rate limits: counts, where there is no Redis.

Revision ID: 5c1e8f7a2b94
Revises: 7b3e90a4d1c6
Create Date: 2026-11-24 14:50:00.000000+00:00
"""

import sqlalchemy as sa
from alembic import op

revision = "5c1e8f7a2b94"
down_revision = "7b3e90a4d1c6"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '4s'")
    # Written at every sign-in, and worth nothing after a crash: no log of it.
    op.create_table(
        "rate_count",
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("count", sa.Integer(), nullable=False),
        sa.Column("ends_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_rate_count")),
        prefixes=["UNLOGGED"],
    )
    op.create_index("ix_rate_count_ends_at", "rate_count", ["ends_at"])


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '4s'")
    op.drop_table("rate_count")
