"""Objects that are to be deleted at R2 and Mux."""

import enum
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from mambo.database.base import Base, one_of


class DeletionKind(enum.StrEnum):
    """What can be deleted: a picture, by its URL; a Mux asset; a Mux upload, with the asset that came of it."""

    PICTURE = "picture"
    ASSET = "asset"
    UPLOAD = "upload"


class PendingDeletion(Base):
    """Something to delete at R2 or Mux once it is due, if no row names it by then; kept until that succeeded.

    Triggers write these rows wherever a lesson, course or profile begins or ceases to name something, so that no code
    path, cascade or rollback can forget one. All times are the database's own.
    """

    __tablename__ = "pending_deletion"
    __table_args__ = (
        sa.PrimaryKeyConstraint(
            "kind",
            "name",
            name="pk_pending_deletion",
            info={"problem": "This picture is being deleted at this moment, for nothing showed it: upload it again."},
        ),
        sa.Index("ix_pending_deletion_due_at", "due_at"),
    )

    kind: Mapped[DeletionKind] = mapped_column(one_of(DeletionKind, name="mediakind"))
    name: Mapped[str]
    due_at: Mapped[datetime] = mapped_column(server_default=sa.func.now())
    leased_until: Mapped[datetime | None]
    attempts: Mapped[int] = mapped_column(server_default=sa.text("0"))
    error: Mapped[str | None]
    created_at: Mapped[datetime] = mapped_column(server_default=sa.func.now())
