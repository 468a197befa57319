"""XP is paid and days are counted by functions; every function finds its tables whatever the search path is.

Revision ID: 3f6b92d8a1c7
Revises: 3f6c2a9d18b0
Create Date: 2026-11-26 04:15:00.000000+00:00
"""

from alembic import op

revision = "3f6b92d8a1c7"
down_revision = "3f6c2a9d18b0"
branch_labels = None
depends_on = None

EXISTING = [
    "forget_reset_tokens",
    "lessons_completed",
    "note_catalogue_change",
    "note_learners_video",
    "note_media",
    "note_upload",
    "pictures_in",
    "refuse_ledger_change",
    "remove_upload",
]


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '4s'")
    # pg_restore sets an empty search path, and triggers run while it loads data.
    for function in EXISTING:
        op.execute(f"ALTER FUNCTION {function} SET search_path = public")
    op.execute("""
        CREATE FUNCTION pay_xp(
            id uuid,
            user_id uuid,
            kind text,
            source_id uuid,
            amount integer,
            at timestamptz,
            actor_id uuid DEFAULT NULL,
            reason text DEFAULT NULL,
            OUT is_paid boolean,
            OUT xp_before integer,
            OUT xp_after integer
        ) LANGUAGE plpgsql SET search_path = public AS $$
        BEGIN
            is_paid := false;
            SELECT xp, xp INTO xp_before, xp_after FROM user_profile WHERE user_profile.user_id = pay_xp.user_id
            FOR NO KEY UPDATE;
            IF NOT FOUND THEN
                RETURN;
            END IF;

            INSERT INTO xp_event (id, user_id, kind, source_id, amount, at, actor_id, reason)
            VALUES (id, user_id, kind, source_id, amount, at, actor_id, reason)
            ON CONFLICT ON CONSTRAINT uq_xp_event_source DO NOTHING;
            is_paid := FOUND;
            IF NOT is_paid OR amount = 0 THEN
                RETURN;
            END IF;

            UPDATE user_profile SET xp = xp + amount, xp_reached_at = greatest(xp_reached_at, at)
            WHERE user_profile.user_id = pay_xp.user_id
            RETURNING xp INTO xp_after;

            INSERT INTO weekly_xp (user_id, week, xp, reached_at)
            VALUES (user_id, date_trunc('week', at AT TIME ZONE 'UTC')::date, amount, at)
            ON CONFLICT ON CONSTRAINT pk_weekly_xp DO UPDATE
            SET xp = weekly_xp.xp + excluded.xp, reached_at = greatest(weekly_xp.reached_at, excluded.reached_at);
        END $$
    """)
    op.execute("""
        CREATE FUNCTION count_day(user_id uuid, day date, reason text) RETURNS void
        LANGUAGE plpgsql SET search_path = public AS $$
        BEGIN
            INSERT INTO activity_day (user_id, local_date, reason)
            SELECT count_day.user_id, day, count_day.reason
            WHERE NOT EXISTS (
                SELECT FROM activity_day AS counted WHERE counted.user_id = count_day.user_id AND counted.local_date >= day
            );
        END $$
    """)


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '4s'")
    op.execute("DROP FUNCTION count_day")
    op.execute("DROP FUNCTION pay_xp")
    for function in EXISTING:
        op.execute(f"ALTER FUNCTION {function} RESET search_path")
