"""Request and response bodies of image uploads."""

from typing import Annotated, Literal

from msgspec import Meta

from mambo.web.schemas import Input, Output

PictureType = Literal["image/jpeg", "image/png", "image/webp", "image/gif", "image/avif"]


class PictureRequest(Input):
    """A picture to upload: its media type, what it is for, and its size in bytes, which the server then enforces."""

    file_type: PictureType
    folder: Literal["avatars", "thumbnails"]
    content_length: Annotated[int, Meta(ge=1)] | None = None


class PresignedUpload(Output):
    """Where and how to send a picture, for `expires_in` seconds; `headers` must be sent as they are."""

    upload_url: str
    public_url: str
    headers: dict[str, str]
    expires_in: int
    key: str
    method: Literal["PUT"] = "PUT"
