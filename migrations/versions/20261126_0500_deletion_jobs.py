"""Jobs carry out deletions and checks of uploads; images are called images.

Revision ID: c2f4a86d03b7
Revises: b7d0e51c94fa
Create Date: 2026-11-26 05:00:00.000000+00:00
"""

import sqlalchemy as sa
from alembic import op

revision = "c2f4a86d03b7"
down_revision = "b7d0e51c94fa"
branch_labels = None
depends_on = None

UNFINISHED = sa.text("status IN ('waiting', 'asset_created', 'preparing')")
# Each URL of an image of ours ("avatars/<user>/<uuid>.png") in a row, as a text value of its own.
IMAGES = """
    CREATE FUNCTION {function}(row_as_json jsonb) RETURNS SETOF text
    LANGUAGE sql IMMUTABLE SET search_path = public AS $$
        SELECT DISTINCT {word} #>> '{{}}' FROM jsonb_path_query(
            row_as_json,
            'strict $.** ? (@ like_regex "^https?://[^ ]+/(avatars/[0-9a-f-]{{36}}|thumbnails)/[0-9a-f-]{{36}}[.][a-z]+$")'
        ) AS {word}
    $$
"""
NOTE_MEDIA = """
    CREATE OR REPLACE FUNCTION note_media() RETURNS trigger LANGUAGE plpgsql SET search_path = public AS $$
    DECLARE
        before jsonb := CASE WHEN TG_OP = 'INSERT' THEN '{{}}' ELSE to_jsonb(OLD) END;
        after jsonb := CASE WHEN TG_OP = 'DELETE' THEN '{{}}' ELSE to_jsonb(NEW) END;
        {word} text;
        is_wanted boolean;
    BEGIN
        FOR {word}, is_wanted IN
            SELECT coalesce(old_one.url, new_one.url), new_one.url IS NOT NULL
            FROM {function}(before) AS old_one (url) FULL JOIN {function}(after) AS new_one (url) USING (url)
            WHERE old_one.url IS NULL OR new_one.url IS NULL ORDER BY 1
        LOOP
            INSERT INTO pending_deletion (kind, name) VALUES ('{word}', {word})
            ON CONFLICT (kind, name) DO UPDATE SET due_at = now(){queued}
                WHERE pending_deletion.{until} IS NULL OR pending_deletion.{until} < now();
            IF NOT FOUND AND is_wanted THEN
                RAISE EXCEPTION 'the {word} is being deleted'
                    USING ERRCODE = 'integrity_constraint_violation', CONSTRAINT = 'pk_pending_deletion';
            END IF;
        END LOOP;
        IF before->>'mux_asset_id' IS DISTINCT FROM after->>'mux_asset_id'
            AND before->>'mux_asset_id' IS NOT NULL THEN
            INSERT INTO pending_deletion (kind, name) VALUES ('asset', before->>'mux_asset_id')
            ON CONFLICT DO NOTHING;
        END IF;
        RETURN NULL;
    END $$
"""


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '4s'")
    op.alter_column("pending_deletion", "leased_until", new_column_name="locked_until")
    op.add_column("pending_deletion", sa.Column("queued_at", sa.DateTime(timezone=True), nullable=True))
    op.drop_column("pending_deletion", "attempts")
    op.drop_column("pending_deletion", "error")
    op.execute("ALTER TABLE pending_deletion DROP CONSTRAINT ck_pending_deletion_mediakind")
    op.execute("UPDATE pending_deletion SET kind = 'image' WHERE kind = 'picture'")
    op.create_check_constraint(
        op.f("ck_pending_deletion_deletionkind"), "pending_deletion", "kind IN ('image', 'asset', 'upload')"
    )
    op.execute(IMAGES.format(function="images_in", word="image"))
    op.execute(NOTE_MEDIA.format(function="images_in", word="image", queued=", queued_at = NULL", until="locked_until"))
    op.execute("DROP FUNCTION pictures_in")
    op.drop_index("ix_video_upload_ask_at", table_name="video_upload")
    op.drop_column("video_upload", "ask_at")
    op.create_index("ix_video_upload_unfinished", "video_upload", ["updated_at"], postgresql_where=UNFINISHED)


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '4s'")
    op.drop_index("ix_video_upload_unfinished", table_name="video_upload")
    op.add_column("video_upload", sa.Column("ask_at", sa.DateTime(timezone=True), nullable=True))
    op.execute("UPDATE video_upload SET ask_at = now() WHERE status IN ('waiting', 'asset_created', 'preparing')")
    op.create_index(
        "ix_video_upload_ask_at", "video_upload", ["ask_at"], postgresql_where=sa.text("ask_at IS NOT NULL")
    )
    op.alter_column("pending_deletion", "locked_until", new_column_name="leased_until")
    op.drop_column("pending_deletion", "queued_at")
    op.add_column("pending_deletion", sa.Column("attempts", sa.Integer(), server_default=sa.text("0"), nullable=False))
    op.add_column("pending_deletion", sa.Column("error", sa.Text(), nullable=True))
    op.execute("ALTER TABLE pending_deletion DROP CONSTRAINT ck_pending_deletion_deletionkind")
    op.execute("UPDATE pending_deletion SET kind = 'picture' WHERE kind = 'image'")
    op.create_check_constraint(
        op.f("ck_pending_deletion_mediakind"), "pending_deletion", "kind IN ('picture', 'asset', 'upload')"
    )
    op.execute(IMAGES.format(function="pictures_in", word="picture"))
    op.execute(NOTE_MEDIA.format(function="pictures_in", word="picture", queued="", until="leased_until"))
    op.execute("DROP FUNCTION images_in")
