"""`/api/uploads`: presigned uploads of images."""

from litestar import Controller, post
from litestar.di import NamedDependency, Provide
from litestar.params import JSONBody

from mambo.images.schemas import PictureRequest, PresignedUpload
from mambo.images.service import ImageService, provide_image_service
from mambo.limits.rules import PRESIGN
from mambo.web.guards import requires_user
from mambo.web.openapi import raises
from mambo.web.principal import Principal


class ImageController(Controller):
    path = "/api/uploads"
    tags = ("Uploads",)
    guards = (requires_user,)
    dependencies = {"images": Provide(provide_image_service, sync_to_thread=False)}

    @post("/presigned-url", rate_limit=PRESIGN, status_code=200, responses=raises(403))
    async def presign_picture(
        self,
        data: JSONBody[PictureRequest],
        principal: NamedDependency[Principal],
        images: NamedDependency[ImageService],
    ) -> PresignedUpload:
        """Presign an upload of an own avatar, or as staff of a thumbnail; an unused image is deleted after a day."""
        return await images.presign(data, principal)
