"""`/api/uploads`: presigned uploads of pictures; `/api/mux/webhook`: what Mux tells."""

from datetime import timedelta
from uuid import uuid4

import msgspec
from litestar import Controller, post
from litestar.di import NamedDependency, Provide
from litestar.params import JSONBody
from sqlalchemy.ext.asyncio import AsyncSession

from mambo.adapters.storage import AVATAR_BYTES, PICTURE_TYPES, THUMBNAIL_BYTES, ImageStorage
from mambo.deletions.models import DeletionKind
from mambo.deletions.repository import DeletionRepository
from mambo.errors import Invalid, NotAllowed, Unavailable
from mambo.images.schemas import PictureRequest, PresignedUpload
from mambo.limits.rules import PRESIGN
from mambo.web.guards import requires_user
from mambo.web.openapi import raises
from mambo.web.principal import Principal

UNUSED_PICTURE = timedelta(hours=24)


def require_image_storage(image_storage: NamedDependency[ImageStorage | None]) -> ImageStorage:
    """Return the image storage.

    Raises:
        Unavailable: none is configured.

    """
    if image_storage is None:
        raise Unavailable(
            "Uploads of pictures are not configured: set AWS_ENDPOINT_URL, AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, "
            "AWS_BUCKET_NAME and R2_PUBLIC_DOMAIN.",
            code="not_configured",
        )
    return image_storage


class PictureController(Controller):
    path = "/api/uploads"
    tags = ("Uploads",)
    guards = (requires_user,)
    dependencies = {"pictures": Provide(require_image_storage, sync_to_thread=False)}

    @post("/presigned-url", rate_limit=PRESIGN, status_code=200, responses=raises(403, 429))
    async def presign_picture(
        self,
        data: JSONBody[PictureRequest],
        principal: NamedDependency[Principal],
        pictures: NamedDependency[ImageStorage],
        session: NamedDependency[AsyncSession],
    ) -> PresignedUpload:
        """Where to PUT a picture: an avatar of one's own, or as staff a thumbnail; unused, it goes after a day."""
        is_avatar = data.folder == "avatars"
        if not is_avatar and not principal.is_staff:
            raise NotAllowed("Only instructors and admins may upload thumbnails.")
        limit = AVATAR_BYTES if is_avatar else THUMBNAIL_BYTES
        if data.content_length is not None and data.content_length > limit:
            raise Invalid.field("content_length", f"must be at most {limit}: choose a smaller picture")
        folder = f"avatars/{principal.user_id}" if is_avatar else "thumbnails"
        key = f"{folder}/{uuid4()}.{PICTURE_TYPES[data.file_type]}"
        presigned = await pictures.presign_put(key, data.file_type, data.content_length)
        await DeletionRepository(session).note(DeletionKind.PICTURE, presigned.public_url, after=UNUSED_PICTURE)
        return PresignedUpload(**msgspec.structs.asdict(presigned))
