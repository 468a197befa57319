"""Which images may be uploaded and shown."""

import re
from datetime import timedelta
from typing import Literal

from mambo.errors import Invalid

ImageType = Literal["image/jpeg", "image/png", "image/webp", "image/gif", "image/avif"]
EXTENSIONS: dict[ImageType, str] = {
    "image/jpeg": "jpg",
    "image/png": "png",
    "image/webp": "webp",
    "image/gif": "gif",
    "image/avif": "avif",
}
# The first bytes of a file of each type. puremagic takes any RIFF file (WAV, AVI) for WebP, and JPEG 2000 for JPEG.
SIGNATURES: dict[str, re.Pattern[bytes]] = {
    "image/jpeg": re.compile(rb"\xff\xd8\xff"),
    "image/png": re.compile(rb"\x89PNG\r\n\x1a\n"),
    "image/webp": re.compile(rb"RIFF.{4}WEBPVP8", re.DOTALL),
    "image/gif": re.compile(rb"GIF8[79]a"),
    "image/avif": re.compile(rb".{4}ftypavi[fs]", re.DOTALL),
}
MEGABYTE = 1024 * 1024  # as browsers and file dialogs count
AVATAR_BYTES = 5 * MEGABYTE
THUMBNAIL_BYTES = 10 * MEGABYTE
UNUSED_LIFETIME = timedelta(hours=24)


def check_image(field: str, size: int, content_type: str, head: bytes, *, max_bytes: int) -> None:
    """Check an uploaded file by its size in bytes, its declared content type, and its first bytes.

    Raises:
        Invalid: the file is empty, too large, of another type, or not of its declared type.

    """
    if size == 0:
        raise Invalid.field(field, "has no picture behind it: upload one first")
    if size > max_bytes:
        raise Invalid.field(field, f"is too large a picture: {max_bytes // MEGABYTE} MB is the most")
    signature = SIGNATURES.get(content_type)
    if signature is None or not signature.match(head):
        raise Invalid.field(field, "is not a readable picture: upload a JPEG, PNG, WebP, GIF or AVIF as what it is")
