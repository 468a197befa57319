"""Tokens that go out by e-mail, and since when an address is known to be one's own.

Revision ID: c2d84f6b19e7
Revises: 5c1e8f7a2b94
Create Date: 2026-11-24 15:00:00.000000+00:00
"""

import sqlalchemy as sa
from alembic import op

revision = "c2d84f6b19e7"
down_revision = "5c1e8f7a2b94"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '4s'")
    op.add_column("users", sa.Column("email_verified_at", sa.DateTime(timezone=True), nullable=True))
    purpose = sa.Enum("verify", "reset", name="tokenpurpose", native_enum=False, create_constraint=True, length=20)
    op.create_table(
        "email_token",
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("purpose", purpose, nullable=False),
        sa.Column("hash", sa.LargeBinary(), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["user_id"], ["users.id"], name=op.f("fk_email_token_user_id_users"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("user_id", "purpose", name=op.f("pk_email_token")),
        sa.UniqueConstraint("hash", name=op.f("uq_email_token_hash")),
    )
    # A link to set a new password is of no use once a password was set, whichever way.
    op.execute("""
        CREATE FUNCTION forget_reset_tokens() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            DELETE FROM email_token WHERE user_id = NEW.id AND purpose = 'reset';
            RETURN NULL;
        END $$
    """)
    op.execute("""
        CREATE TRIGGER users_forget_reset_tokens AFTER UPDATE OF password_hash ON users FOR EACH ROW
        WHEN (OLD.password_hash IS DISTINCT FROM NEW.password_hash) EXECUTE FUNCTION forget_reset_tokens()
    """)


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '4s'")
    op.execute("DROP TRIGGER users_forget_reset_tokens ON users")
    op.execute("DROP FUNCTION forget_reset_tokens")
    op.drop_table("email_token")
    op.drop_column("users", "email_verified_at")
