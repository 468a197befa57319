"""Uploads of images, and the check of an image before a course, lesson or profile shows it."""

from uuid import uuid4

import msgspec
from litestar.di import NamedDependency
from sqlalchemy.ext.asyncio import AsyncSession

from mambo.adapters.storage import ImageStorage
from mambo.deletions.models import DeletionKind
from mambo.deletions.repository import DeletionRepository
from mambo.errors import Invalid, NotAllowed, Unavailable
from mambo.images.rules import AVATAR_BYTES, EXTENSIONS, THUMBNAIL_BYTES, UNUSED_LIFETIME, check_image
from mambo.images.schemas import PictureRequest, PresignedUpload
from mambo.web.principal import Principal


class ImageService:
    """Presigns uploads of images."""

    def __init__(self, storage: ImageStorage, deletions: DeletionRepository) -> None:
        self.storage, self.deletions = storage, deletions

    async def presign(self, data: PictureRequest, principal: Principal) -> PresignedUpload:
        """Presign an upload under a new key. The image is deleted after a day if nothing shows it by then.

        Raises:
            NotAllowed: the image is a thumbnail, and the person is not staff.
            Invalid: the size is too large.

        """
        is_avatar = data.folder == "avatars"
        if not is_avatar and not principal.is_staff:
            raise NotAllowed("Only instructors and admins may upload thumbnails.")
        max_bytes = AVATAR_BYTES if is_avatar else THUMBNAIL_BYTES
        if data.content_length is not None and data.content_length > max_bytes:
            raise Invalid.field("content_length", f"must be at most {max_bytes}: choose a smaller picture")
        folder = f"avatars/{principal.user_id}" if is_avatar else "thumbnails"
        key = f"{folder}/{uuid4()}.{EXTENSIONS[data.file_type]}"
        presigned = await self.storage.presign_put(key, data.file_type, data.content_length)
        await self.deletions.schedule(DeletionKind.IMAGE, presigned.public_url, after=UNUSED_LIFETIME)
        return PresignedUpload(**msgspec.structs.asdict(presigned))


async def require_image(
    storage: ImageStorage | None, field: str, url: str, *, folder: str, max_bytes: int, is_own: bool = False
) -> None:
    """Check that a URL of our storage is that of an image in the folder. A URL on another host is not checked.

    With `is_own`, the URL must be one of our storage. Without a storage, no URL is checked.

    Raises:
        Invalid: the image does not exist, is in another folder or too large, or is not of its declared type.
        DependencyFailed, DependencyTimedOut, Unavailable: the storage failed.

    """
    if storage is None:
        return
    try:
        key = storage.key_of(url)
    except ValueError:
        raise Invalid.field(field, "is not a picture's address: use the public_url of an upload as it is") from None
    if key is None and not is_own:
        return
    if key is None or key.rpartition("/")[0] != folder:
        raise Invalid.field(field, "must be the public_url of a picture that was uploaded for this")
    stored = await storage.inspect(key)
    if stored is None:
        raise Invalid.field(field, "has no picture behind it: upload one first")
    check_image(field, stored.size, stored.content_type, stored.head, max_bytes=max_bytes)


def provide_image_service(
    session: NamedDependency[AsyncSession], image_storage: NamedDependency[ImageStorage | None]
) -> ImageService:
    """Return the service.

    Raises:
        Unavailable: image storage is not configured.

    """
    if image_storage is None:
        raise Unavailable(
            "Uploads of pictures are not configured: set AWS_ENDPOINT_URL, AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, "
            "AWS_BUCKET_NAME and R2_PUBLIC_DOMAIN.",
            code="not_configured",
        )
    return ImageService(image_storage, DeletionRepository(session))
