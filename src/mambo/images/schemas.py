"""Request and response bodies of image uploads."""

from typing import Annotated, Literal

from msgspec import Meta

from mambo.images.rules import ImageType
from mambo.web.schemas import Input, Output


class PictureRequest(Input):
    """An image to upload: its media type, its use, and its size in bytes; with a size, only that size is accepted."""

    file_type: ImageType
    folder: Literal["avatars", "thumbnails"]
    content_length: Annotated[int, Meta(ge=1)] | None = None


class PresignedUpload(Output):
    """Where and how to send an image within `expires_in` seconds; `headers` must be sent unchanged."""

    upload_url: str
    public_url: str
    headers: dict[str, str]
    expires_in: int
    key: str
    method: Literal["PUT"] = "PUT"
