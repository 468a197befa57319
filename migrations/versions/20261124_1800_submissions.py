"""Boss battles: submissions, and the videos that learners upload for them.

Revision ID: 8e41b7c0d5fa
Revises: 5d20c9e17ab4
Create Date: 2026-11-24 18:00:00.000000+00:00
"""

import sqlalchemy as sa
from alembic import op

revision = "8e41b7c0d5fa"
down_revision = "5d20c9e17ab4"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '4s'")
    op.add_column("video_upload", sa.Column("boss_lesson_id", sa.Uuid(), nullable=True))
    op.add_column("video_upload", sa.Column("unused_until", sa.DateTime(timezone=True), nullable=True))
    op.create_foreign_key(
        op.f("fk_video_upload_boss_lesson_id_lesson"),
        "video_upload",
        "lesson",
        ["boss_lesson_id"],
        ["id"],
        ondelete="CASCADE",
    )
    op.create_check_constraint(
        op.f("ck_video_upload_one_purpose"), "video_upload", "num_nonnulls(lesson_id, boss_lesson_id) <= 1"
    )
    op.create_index("ix_video_upload_boss_lesson_id", "video_upload", ["boss_lesson_id", "created_by"])
    op.create_index(
        "ix_video_upload_unused_until",
        "video_upload",
        ["unused_until"],
        postgresql_where=sa.text("unused_until IS NOT NULL"),
    )
    status = sa.Enum(
        "pending", "approved", "rejected", name="submissionstatus", native_enum=False, create_constraint=True, length=20
    )
    op.create_table(
        "submission",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("lesson_id", sa.Uuid(), nullable=False),
        sa.Column("status", status, nullable=False),
        sa.Column("video_url", sa.Text(), nullable=True),
        sa.Column("video_upload_id", sa.Uuid(), nullable=True),
        sa.Column("feedback_text", sa.Text(), nullable=True),
        sa.Column("feedback_video_url", sa.Text(), nullable=True),
        sa.Column("reviewer_id", sa.Uuid(), nullable=True),
        sa.Column("submitted_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("reviewed_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("num_nonnulls(video_url, video_upload_id) = 1", name=op.f("ck_submission_one_video")),
        sa.CheckConstraint(
            "(status = 'pending') = (reviewed_at IS NULL)", name=op.f("ck_submission_reviewed_once_graded")
        ),
        sa.ForeignKeyConstraint(
            ["user_id"], ["users.id"], name=op.f("fk_submission_user_id_users"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["lesson_id"], ["lesson.id"], name=op.f("fk_submission_lesson_id_lesson"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["video_upload_id"], ["video_upload.id"], name=op.f("fk_submission_video_upload_id_video_upload")
        ),
        sa.ForeignKeyConstraint(
            ["reviewer_id"], ["users.id"], name=op.f("fk_submission_reviewer_id_users"), ondelete="SET NULL"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_submission")),
        sa.UniqueConstraint("video_upload_id", name=op.f("uq_submission_video_upload_id")),
    )
    op.create_index(
        "uq_submission_current",
        "submission",
        ["user_id", "lesson_id"],
        unique=True,
        postgresql_where=sa.text("status IN ('pending', 'approved')"),
    )
    op.create_index("ix_submission_status", "submission", ["status", "id"])
    op.create_index("ix_submission_user_id", "submission", ["user_id", "id"])
    op.create_index("ix_submission_lesson_id", "submission", ["lesson_id", "id"])
    op.create_index("ix_submission_reviewer_id", "submission", ["reviewer_id"])

    # A submission's upload goes with it, whichever way it goes.
    op.execute("""
        CREATE FUNCTION remove_upload() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            DELETE FROM video_upload WHERE id = OLD.video_upload_id;
            RETURN NULL;
        END $$
    """)
    op.execute("""
        CREATE TRIGGER submission_removes_upload AFTER DELETE ON submission FOR EACH ROW
        WHEN (OLD.video_upload_id IS NOT NULL) EXECUTE FUNCTION remove_upload()
    """)
    # A learner's video is deleted at Mux with its upload, which Mux may have forgotten by then: hence by its asset.
    op.execute("""
        CREATE FUNCTION note_learners_video() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            INSERT INTO pending_deletion (kind, name) VALUES ('asset', OLD.asset_id) ON CONFLICT DO NOTHING;
            RETURN NULL;
        END $$
    """)
    op.execute("""
        CREATE TRIGGER video_upload_notes_learners_video AFTER DELETE ON video_upload FOR EACH ROW
        WHEN (OLD.boss_lesson_id IS NOT NULL AND OLD.status = 'ready') EXECUTE FUNCTION note_learners_video()
    """)


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '4s'")
    op.drop_table("submission")
    op.execute("DROP FUNCTION remove_upload")
    # An earlier version would take learners' videos for its own: they go, and are deleted at Mux.
    op.execute("DELETE FROM video_upload WHERE boss_lesson_id IS NOT NULL")
    op.execute("DROP TRIGGER video_upload_notes_learners_video ON video_upload")
    op.execute("DROP FUNCTION note_learners_video")
    op.drop_index("ix_video_upload_unused_until", table_name="video_upload")
    op.drop_index("ix_video_upload_boss_lesson_id", table_name="video_upload")
    op.drop_constraint(op.f("ck_video_upload_one_purpose"), "video_upload", type_="check")
    op.drop_constraint(op.f("fk_video_upload_boss_lesson_id_lesson"), "video_upload", type_="foreignkey")
    op.drop_column("video_upload", "unused_until")
    op.drop_column("video_upload", "boss_lesson_id")
