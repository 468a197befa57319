"""Media: videos on their way to Mux, its events, and pending deletions, which triggers write.

Revision ID: 4a7d1f0c92be
Revises: c05675be42a0
Create Date: 2026-11-24 13:40:00.000000+00:00
"""

import sqlalchemy as sa
from alembic import op

revision = "4a7d1f0c92be"
down_revision = "c05675be42a0"
branch_labels = None
depends_on = None


def words(name: str, *values: str) -> sa.Enum:
    return sa.Enum(*values, name=name, native_enum=False, create_constraint=True, length=20)


VIDEO_STATUS = (
    "waiting",
    "timed_out",
    "cancelled",
    "asset_created",
    "preparing",
    "errored",
    "ready",
    "deleted",
)


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '4s'")
    op.add_column("lesson", sa.Column("duration_seconds", sa.Float(), nullable=True))
    op.create_index(
        "ix_user_profile_avatar_url",
        "user_profile",
        ["avatar_url"],
        postgresql_where=sa.text("avatar_url IS NOT NULL"),
    )
    op.create_table(
        "video_upload",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("lesson_id", sa.Uuid(), nullable=True),
        sa.Column("created_by", sa.Uuid(), nullable=True),
        sa.Column("filename", sa.Text(), nullable=True),
        sa.Column("status", words("videostatus", *VIDEO_STATUS), nullable=False),
        sa.Column("mux_upload_id", sa.Text(), nullable=False),
        sa.Column("asset_id", sa.Text(), nullable=True),
        sa.Column("playback_id", sa.Text(), nullable=True),
        sa.Column("duration_seconds", sa.Float(), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ask_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(
            ["lesson_id"], ["lesson.id"], name=op.f("fk_video_upload_lesson_id_lesson"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["created_by"], ["users.id"], name=op.f("fk_video_upload_created_by_users"), ondelete="SET NULL"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_video_upload")),
        sa.UniqueConstraint("mux_upload_id", name=op.f("uq_video_upload_mux_upload_id")),
        sa.UniqueConstraint("asset_id", name=op.f("uq_video_upload_asset_id")),
    )
    op.create_index(
        "uq_video_upload_live_lesson",
        "video_upload",
        ["lesson_id"],
        unique=True,
        postgresql_where=sa.text("status IN ('waiting', 'asset_created', 'preparing')"),
    )
    op.create_index("ix_video_upload_lesson_id", "video_upload", ["lesson_id"])
    op.create_index("ix_video_upload_created_by", "video_upload", ["created_by"])
    op.create_index(
        "ix_video_upload_ask_at", "video_upload", ["ask_at"], postgresql_where=sa.text("ask_at IS NOT NULL")
    )
    op.create_table(
        "mux_event",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("upload_id", sa.Text(), nullable=True),
        sa.Column("asset_id", sa.Text(), nullable=True),
        sa.Column("is_applied", sa.Boolean(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("received_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_mux_event")),
    )
    op.create_index("ix_mux_event_received_at", "mux_event", ["received_at"])
    op.create_index(
        "ix_mux_event_unapplied",
        "mux_event",
        ["asset_id", "upload_id"],
        postgresql_where=sa.text("NOT is_applied"),
    )
    op.create_table(
        "pending_deletion",
        sa.Column("kind", words("mediakind", "picture", "asset", "upload"), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("due_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("leased_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("attempts", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("kind", "name", name="pk_pending_deletion"),
    )
    op.create_index("ix_pending_deletion_due_at", "pending_deletion", ["due_at"])

    # Every picture of a key that we make ("avatars/<user>/<uuid>.png"), wherever in a row it stands as a text of its own.
    op.execute(r"""
        CREATE FUNCTION pictures_in(row_as_json jsonb) RETURNS SETOF text LANGUAGE sql IMMUTABLE AS $$
            SELECT DISTINCT picture #>> '{}' FROM jsonb_path_query(
                row_as_json,
                'strict $.** ? (@ like_regex "^https?://[^ ]+/(avatars/[0-9a-f-]{36}|thumbnails)/[0-9a-f-]{36}[.][a-z]+$")'
            ) AS picture
        $$
    """)
    # What a row begins or ceases to name is looked at again once this is committed: it is deleted if nothing names it.
    op.execute("""
        CREATE FUNCTION note_media() RETURNS trigger LANGUAGE plpgsql AS $$
        DECLARE
            before jsonb := CASE WHEN TG_OP = 'INSERT' THEN '{}' ELSE to_jsonb(OLD) END;
            after jsonb := CASE WHEN TG_OP = 'DELETE' THEN '{}' ELSE to_jsonb(NEW) END;
            picture text;
            is_wanted boolean;
        BEGIN
            FOR picture, is_wanted IN
                SELECT coalesce(old_one.url, new_one.url), new_one.url IS NOT NULL
                FROM pictures_in(before) AS old_one (url) FULL JOIN pictures_in(after) AS new_one (url) USING (url)
                WHERE old_one.url IS NULL OR new_one.url IS NULL ORDER BY 1
            LOOP
                INSERT INTO pending_deletion (kind, name) VALUES ('picture', picture)
                ON CONFLICT (kind, name) DO UPDATE SET due_at = now()
                    WHERE pending_deletion.leased_until IS NULL OR pending_deletion.leased_until < now();
                IF NOT FOUND AND is_wanted THEN
                    RAISE EXCEPTION 'the picture is being deleted'
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
    """)
    for table, changes in {
        "user_profile": "UPDATE OF avatar_url",  # an account begins without one
        "world": "INSERT OR UPDATE OF image_url, thumbnail_url",
        "lesson": "INSERT OR UPDATE OF thumbnail_url, content_json, mux_asset_id",
    }.items():
        op.execute(
            f"CREATE TRIGGER {table}_notes_media AFTER DELETE OR {changes} ON {table} "
            "FOR EACH ROW EXECUTE FUNCTION note_media()"
        )
    # An upload that is given up, or goes with its lesson, is cancelled at Mux; or deleted, if it has become an asset.
    op.execute("""
        CREATE FUNCTION note_upload() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            INSERT INTO pending_deletion (kind, name) VALUES ('upload', OLD.mux_upload_id) ON CONFLICT DO NOTHING;
            RETURN NULL;
        END $$
    """)
    op.execute("""
        CREATE TRIGGER video_upload_notes_itself AFTER DELETE ON video_upload FOR EACH ROW
        WHEN (OLD.status NOT IN ('ready', 'deleted'))
        EXECUTE FUNCTION note_upload()
    """)


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '4s'")
    for table in ("user_profile", "world", "lesson"):
        op.execute(f"DROP TRIGGER {table}_notes_media ON {table}")
    op.execute("DROP FUNCTION note_media")
    op.execute("DROP FUNCTION pictures_in")
    op.drop_table("pending_deletion")
    op.drop_table("mux_event")
    op.drop_table("video_upload")
    op.execute("DROP FUNCTION note_upload")
    op.drop_index("ix_user_profile_avatar_url", table_name="user_profile")
    op.drop_column("lesson", "duration_seconds")
