"""Objects to delete at R2 and Mux."""

import enum
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from mambo.database.base import Base, one_of


class DeletionKind(enum.StrEnum):
    """The kind of an object, and what its name is: an image's URL, a Mux asset's id, or a Mux upload's id.

    Deleting an upload also deletes the asset that was created from it.
    """

    IMAGE = "image"
    ASSET = "asset"
    UPLOAD = "upload"


class PendingDeletion(Base):
    """An object to delete once it is due, unless a row names it by then; the row is kept until the deletion succeeds.

    Triggers insert these rows whenever a lesson, course or profile begins or ceases to name an object, so that no code
    path, cascade or rollback can miss one. All times are the database's.
    """

    __tablename__ = "pending_deletion"
    __table_args__ = (
        sa.PrimaryKeyConstraint(
            "kind",
            "name",
            name="pk_pending_deletion",
            info={"problem": "This picture is being deleted, because nothing showed it: upload it again."},
        ),
        sa.Index("ix_pending_deletion_due_at", "due_at"),
    )

    kind: Mapped[DeletionKind] = mapped_column(one_of(DeletionKind))
    name: Mapped[str]
    due_at: Mapped[datetime] = mapped_column(server_default=sa.func.now())
    # When a job was queued for it; null if that has not happened since it became due.
    queued_at: Mapped[datetime | None]
    # Until when no row may name it, because it is being deleted; null if it is not.
    locked_until: Mapped[datetime | None]
    created_at: Mapped[datetime] = mapped_column(server_default=sa.func.now())
