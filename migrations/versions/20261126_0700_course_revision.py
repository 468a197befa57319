"""A revision for each course, beside that of the whole catalogue.

Revision ID: 6c4e0f93b7d2
Revises: b3d1f4a86c27
Create Date: 2026-11-26 05:00:00.000000+00:00
"""

import sqlalchemy as sa
from alembic import op

revision = "6c4e0f93b7d2"
down_revision = "b3d1f4a86c27"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '4s'")
    # A course without a row has not changed since this migration.
    op.create_table(
        "course_revision",
        sa.Column("world_id", sa.Uuid(), nullable=False),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("world_id", name=op.f("pk_course_revision")),
    )
    op.execute("""
        CREATE OR REPLACE FUNCTION note_catalogue_change() RETURNS trigger
        LANGUAGE plpgsql SET search_path = public AS $$
        DECLARE
            new_revision bigint := pg_current_xact_id()::text::bigint;
            courses uuid[];
        BEGIN
            IF TG_TABLE_NAME = 'world' THEN
                courses := ARRAY[OLD.id, NEW.id];
            ELSE
                courses := ARRAY[OLD.world_id, NEW.world_id];
            END IF;

            INSERT INTO catalogue_revision (revision) VALUES (new_revision)
            ON CONFLICT (is_only) DO UPDATE SET revision = excluded.revision
                WHERE catalogue_revision.revision <> excluded.revision;

            INSERT INTO course_revision (world_id, revision)
            SELECT world.id, new_revision FROM world WHERE world.id = ANY (courses)
            ON CONFLICT (world_id) DO UPDATE SET revision = excluded.revision
                WHERE course_revision.revision <> excluded.revision;

            IF TG_TABLE_NAME = 'world' AND TG_OP = 'DELETE' THEN
                DELETE FROM course_revision WHERE world_id = OLD.id;
            END IF;
            RETURN NULL;
        END $$
    """)


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '4s'")
    op.execute("""
        CREATE OR REPLACE FUNCTION note_catalogue_change() RETURNS trigger
        LANGUAGE plpgsql SET search_path = public AS $$
        BEGIN
            INSERT INTO catalogue_revision (revision) VALUES (pg_current_xact_id()::text::bigint)
            ON CONFLICT (is_only) DO UPDATE SET revision = excluded.revision
                WHERE catalogue_revision.revision <> excluded.revision;
            RETURN NULL;
        END $$
    """)
    op.drop_table("course_revision")
