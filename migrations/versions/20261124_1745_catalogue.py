"""The catalogue's revision, and the course beside each completed lesson.

Revision ID: 5d20c9e17ab4
Revises: 8e3a61d0c5f2
Create Date: 2026-11-24 17:45:00.000000+00:00
"""

import sqlalchemy as sa
from alembic import op

revision = "5d20c9e17ab4"
down_revision = "8e3a61d0c5f2"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '4s'")
    op.create_table(
        "catalogue_revision",
        sa.Column("is_only", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("is_only", name=op.f("pk_catalogue_revision")),
        sa.CheckConstraint("is_only", name=op.f("ck_catalogue_revision_is_only")),
    )
    # Its number is the transaction's: no two are equal. It is written at the commit, when nothing else will be locked,
    # so that nobody waits for it in a circle; and once, however many rows the transaction changed.
    op.execute("""
        CREATE FUNCTION note_catalogue_change() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            INSERT INTO catalogue_revision (revision) VALUES (pg_current_xact_id()::text::bigint)
            ON CONFLICT (is_only) DO UPDATE SET revision = excluded.revision
                WHERE catalogue_revision.revision <> excluded.revision;
            RETURN NULL;
        END $$
    """)
    for table in ("world", "lesson"):
        op.execute(f"""
            CREATE CONSTRAINT TRIGGER {table}_changes_the_catalogue AFTER INSERT OR UPDATE OR DELETE ON {table}
            DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION note_catalogue_change()
        """)

    op.create_unique_constraint("uq_lesson_world_id_id", "lesson", ["world_id", "id"])
    op.add_column("lesson_completion", sa.Column("world_id", sa.Uuid(), nullable=True))
    op.execute("""
        UPDATE lesson_completion SET world_id = lesson.world_id FROM lesson WHERE lesson.id = lesson_completion.lesson_id
    """)
    op.alter_column("lesson_completion", "world_id", nullable=False)
    op.drop_constraint("pk_lesson_completion", "lesson_completion", type_="primary")
    op.create_primary_key("pk_lesson_completion", "lesson_completion", ["user_id", "world_id", "lesson_id"])
    op.drop_constraint("fk_lesson_completion_lesson_id_lesson", "lesson_completion", type_="foreignkey")
    op.create_foreign_key(
        "fk_lesson_completion_lesson",
        "lesson_completion",
        "lesson",
        ["world_id", "lesson_id"],
        ["world_id", "id"],
        ondelete="CASCADE",
    )
    # A volatile function looks anew, while the statement that calls it sees the rows as they were when it began: so who
    # has waited for a lock counts what was committed meanwhile, and what the statement itself has stored.
    op.execute("""
        CREATE FUNCTION lessons_completed(who uuid, of_world uuid) RETURNS bigint LANGUAGE sql VOLATILE AS $$
            SELECT count(*) FROM lesson_completion WHERE user_id = who AND world_id = of_world
        $$
    """)


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '4s'")
    op.execute("DROP FUNCTION lessons_completed")
    op.drop_constraint("fk_lesson_completion_lesson", "lesson_completion", type_="foreignkey")
    op.drop_constraint("pk_lesson_completion", "lesson_completion", type_="primary")
    op.create_primary_key("pk_lesson_completion", "lesson_completion", ["user_id", "lesson_id"])
    op.create_foreign_key(
        "fk_lesson_completion_lesson_id_lesson",
        "lesson_completion",
        "lesson",
        ["lesson_id"],
        ["id"],
        ondelete="CASCADE",
    )
    op.drop_column("lesson_completion", "world_id")
    op.drop_constraint("uq_lesson_world_id_id", "lesson", type_="unique")
    for table in ("world", "lesson"):
        op.execute(f"DROP TRIGGER {table}_changes_the_catalogue ON {table}")
    op.execute("DROP FUNCTION note_catalogue_change")
    op.drop_table("catalogue_revision")
