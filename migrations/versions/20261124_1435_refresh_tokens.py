"""Refresh tokens, each used once.

Revision ID: 7b3e90a4d1c6
Revises: 4a7d1f0c92be
Create Date: 2026-11-24 14:35:00.000000+00:00
"""

import sqlalchemy as sa
from alembic import op

revision = "7b3e90a4d1c6"
down_revision = "4a7d1f0c92be"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '4s'")
    op.create_table(
        "refresh_token",
        sa.Column("hash", sa.LargeBinary(), nullable=False),
        sa.Column("session_id", sa.Uuid(), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("used_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["session_id"],
            ["auth_session.id"],
            name=op.f("fk_refresh_token_session_id_auth_session"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("hash", name=op.f("pk_refresh_token")),
    )
    op.create_index("ix_refresh_token_session_id", "refresh_token", ["session_id"])
    op.create_index("ix_auth_session_expires_at", "auth_session", ["expires_at"])


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '4s'")
    op.drop_index("ix_auth_session_expires_at", table_name="auth_session")
    op.drop_table("refresh_token")
