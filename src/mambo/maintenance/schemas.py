"""The jobs of this package."""

from uuid import UUID

from mambo.deletions.models import DeletionKind
from mambo.jobs import Job


class CheckUpload(Job, frozen=True):
    """Ask Mux for the state of an unfinished upload."""

    upload_id: UUID

    def __str__(self) -> str:
        return f"Video upload {self.upload_id}"


class DeleteObject(Job, frozen=True):
    """Delete an object at R2 or Mux, unless a row names it."""

    kind: DeletionKind
    name: str

    def __str__(self) -> str:
        return f"Deleting {self.kind} {self.name}"
