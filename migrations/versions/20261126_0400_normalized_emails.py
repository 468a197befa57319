"""E-mail addresses are stored normalized: NFC, the domain as IDNA 2008 has it.

Revision ID: 3f6c2a9d18b0
Revises: 8e41b7c0d5fa
Create Date: 2026-11-26 04:00:00.000000+00:00
"""

import logging
import unicodedata
from collections import defaultdict

import sqlalchemy as sa
from alembic import context, op
from email_validator import EmailNotValidError, validate_email

revision = "3f6c2a9d18b0"
down_revision = "8e41b7c0d5fa"
branch_labels = None
depends_on = None

log = logging.getLogger("alembic.emails")


def upgrade() -> None:
    """Normalize the addresses; of several accounts with the same one the oldest gets it, the others are reported."""
    if context.is_offline_mode():
        return  # the rows decide what is to be done
    connection = op.get_bind()
    op.execute("SET LOCAL lock_timeout = '4s'")
    # All other addresses are normalized as they are.
    unusual = connection.execute(
        sa.text("""
            SELECT id, email FROM users
            WHERE octet_length(email) <> char_length(email) OR email <> lower(btrim(email)) OR email LIKE '%xn--%'
            ORDER BY created_at, id
        """)
    )
    owners = defaultdict(list)
    for user_id, email in unusual:
        owners[normalized(email)].append(user_id)
    for email, user_ids in owners.items():
        query = sa.text("SELECT id FROM users WHERE lower(email) = lower(:email) AND id <> ALL(:user_ids)")
        first, *others = [*connection.scalars(query, {"email": email, "user_ids": user_ids}), *user_ids]
        connection.execute(sa.text("UPDATE users SET email = :email WHERE id = :id"), {"email": email, "id": first})
        for other in others:
            log.warning(
                "The account %s has the e-mail address of %s, written otherwise: nobody can sign in to it until its "
                "address is changed.",
                other,
                first,
            )


def downgrade() -> None:
    """Nothing to do: the older code finds normalized addresses too."""


def normalized(text: str) -> str:
    text = text.strip()
    try:
        address = validate_email(text, check_deliverability=False)
    except EmailNotValidError:
        return unicodedata.normalize("NFC", text.lower())
    return unicodedata.normalize("NFC", address.local_part.lower()) + f"@{address.domain}"
