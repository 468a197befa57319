"""The game: since when a total stands, XP by week, why a day counts, and the indexes that the leaderboard reads.

Whatever an older version pays while this one is deployed lacks its projections: `mambo game rebuild` adds them.

Revision ID: 8e3a61d0c5f2
Revises: e41b7c90d5a2
Create Date: 2026-11-24 17:15:00.000000+00:00
"""

import sqlalchemy as sa
from alembic import op

revision = "8e3a61d0c5f2"
down_revision = "e41b7c90d5a2"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '4s'")
    reason = sa.Enum(
        "sign_in",
        "lesson",
        "quiz",
        "boss",
        name="activityreason",
        native_enum=False,
        create_constraint=True,
        length=20,
    )
    op.add_column("activity_day", sa.Column("reason", reason, nullable=True))
    op.create_index("ix_xp_event_user_id_id", "xp_event", ["user_id", "id"])
    op.add_column("user_profile", sa.Column("xp_reached_at", sa.DateTime(timezone=True), nullable=True))
    op.create_table(
        "weekly_xp",
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("week", sa.Date(), nullable=False),
        sa.Column("xp", sa.Integer(), nullable=False),
        sa.Column("reached_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_weekly_xp_user_id_users"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("user_id", "week", name=op.f("pk_weekly_xp")),
    )
    op.execute("""
        UPDATE user_profile SET xp_reached_at = reached.at
        FROM (SELECT user_id, max(at) AS at FROM xp_event WHERE amount <> 0 GROUP BY user_id) AS reached
        WHERE reached.user_id = user_profile.user_id
    """)
    op.execute("""
        INSERT INTO weekly_xp (user_id, week, xp, reached_at)
        SELECT user_id, date_trunc('week', at AT TIME ZONE 'UTC')::date AS week, sum(amount), max(at)
        FROM xp_event WHERE amount <> 0 GROUP BY user_id, week
    """)
    op.create_index(
        "ix_user_profile_leaders",
        "user_profile",
        [sa.literal_column("xp DESC"), "xp_reached_at", "user_id"],
        postgresql_where=sa.text("show_on_leaderboard"),
    )
    op.create_index(
        "ix_weekly_xp_leaders", "weekly_xp", ["week", sa.literal_column("xp DESC"), "reached_at", "user_id"]
    )


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '4s'")
    op.drop_index("ix_user_profile_leaders", table_name="user_profile")
    op.drop_table("weekly_xp")
    op.drop_column("user_profile", "xp_reached_at")
    op.drop_index("ix_xp_event_user_id_id", table_name="xp_event")
    op.drop_column("activity_day", "reason")
