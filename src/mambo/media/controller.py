"""`/api/uploads`: presigned uploads of pictures; `/api/mux/webhook`: what Mux tells."""

from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

import msgspec
from litestar import Controller, Request, post
from litestar.datastructures import State
from litestar.di import NamedDependency, Provide
from litestar.params import JSONBody
from sqlalchemy.ext.asyncio import AsyncSession

from mambo.adapters.mux_events import check_signature, read_event
from mambo.adapters.storage import (
    AVATAR_BYTES,
    PICTURE_TYPES,
    THUMBNAIL_BYTES,
    PictureStore,
    provide_pictures,
)
from mambo.errors import Invalid, NotAllowed
from mambo.guards import Principal, open_to_anyone, requires_user
from mambo.limits.rules import PRESIGN
from mambo.limits.service import limited
from mambo.media.models import MediaKind
from mambo.media.repository import DeletionRepository
from mambo.media.schemas import PictureRequest, PresignedUpload, Received
from mambo.media.service import Inbox, provide_inbox
from mambo.openapi import raises

MAX_EVENT_BYTES = 256_000
UNUSED_PICTURE = timedelta(hours=24)


class PictureController(Controller):
    path = "/api/uploads"
    tags = ("Uploads",)
    guards = (requires_user,)
    dependencies = {"pictures": Provide(provide_pictures)}

    @post("/presigned-url", guards=[limited(PRESIGN)], status_code=200, responses=raises(403, 429))
    async def presign_picture(
        self,
        data: JSONBody[PictureRequest],
        principal: NamedDependency[Principal],
        pictures: NamedDependency[PictureStore],
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
        await DeletionRepository(session).note(MediaKind.PICTURE, presigned.public_url, after=UNUSED_PICTURE)
        return PresignedUpload(**msgspec.structs.asdict(presigned))


@post(
    ["/api/mux/webhook", "/api/webhook"],
    tags=["Video"],
    guards=[open_to_anyone],
    opt={"ignores_token": True},
    dependencies={"inbox": Provide(provide_inbox)},
    request_max_body_size=MAX_EVENT_BYTES,
    status_code=200,
    responses=raises(400, 409, 413),
)
async def receive_event(
    request: Request[Any, Any, Any], state: State, inbox: NamedDependency[Inbox], now: NamedDependency[datetime]
) -> Received:
    """An event of Mux, signed; each takes effect once, in whatever order and however often it comes."""
    body = await request.body()
    check_signature(request.headers.get("mux-signature"), body, state.webhook_secrets, now)
    await inbox.receive(read_event(body), body)
    return Received()
