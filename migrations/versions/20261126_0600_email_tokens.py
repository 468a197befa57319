"""A person can have several tokens for a purpose: an older one stays usable until the newer one was sent."""

from alembic import op

revision = "d41e7c90b6f3"
down_revision = "c2f4a86d03b7"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.drop_constraint("pk_email_token", "email_token", type_="primary")
    op.drop_constraint("uq_email_token_hash", "email_token", type_="unique")
    op.create_primary_key("pk_email_token", "email_token", ["hash"])
    op.create_index("ix_email_token_owner", "email_token", ["user_id", "purpose"])


def downgrade() -> None:
    op.execute("""
        DELETE FROM email_token AS older USING email_token AS newer
        WHERE older.user_id = newer.user_id AND older.purpose = newer.purpose
            AND (older.created_at, older.hash) < (newer.created_at, newer.hash)
    """)
    op.drop_index("ix_email_token_owner", "email_token")
    op.drop_constraint("pk_email_token", "email_token", type_="primary")
    op.create_unique_constraint("uq_email_token_hash", "email_token", ["hash"])
    op.create_primary_key("pk_email_token", "email_token", ["user_id", "purpose"])
