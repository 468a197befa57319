"""Comments on lessons, and replies to them.

Revision ID: e41b7c90d5a2
Revises: 9e41b07d5c28
Create Date: 2026-11-24 16:40:00.000000+00:00
"""

import sqlalchemy as sa
from alembic import op

revision = "e41b7c90d5a2"
down_revision = "9e41b07d5c28"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '4s'")
    op.create_table(
        "comment",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("lesson_id", sa.Uuid(), nullable=False),
        sa.Column("author_id", sa.Uuid(), nullable=True),
        sa.Column("parent_id", sa.Uuid(), nullable=True),
        sa.Column("key", sa.Uuid(), nullable=True),
        sa.Column("body", sa.Text(), nullable=True),
        sa.Column("edited_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("removed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(
            ["lesson_id"], ["lesson.id"], name=op.f("fk_comment_lesson_id_lesson"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["author_id"], ["users.id"], name=op.f("fk_comment_author_id_users"), ondelete="SET NULL"
        ),
        sa.ForeignKeyConstraint(
            ["lesson_id", "parent_id"], ["comment.lesson_id", "comment.id"], name="fk_comment_parent"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_comment")),
        sa.UniqueConstraint("lesson_id", "id", name="uq_comment_lesson_id_id"),
        sa.UniqueConstraint("author_id", "key", name="uq_comment_key"),
        sa.CheckConstraint("char_length(body) BETWEEN 1 AND 2000", name=op.f("ck_comment_body_length")),
        sa.CheckConstraint("(body IS NULL) = (removed_at IS NOT NULL)", name=op.f("ck_comment_removed_without_body")),
    )
    op.create_index("ix_comment_thread", "comment", ["lesson_id", "parent_id", "id"])


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '4s'")
    op.drop_table("comment")
