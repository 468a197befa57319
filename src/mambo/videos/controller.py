"""Mux's webhook."""

from datetime import datetime
from typing import Any

from litestar import Request, post
from litestar.di import NamedDependency, Provide

from mambo.adapters.mux_events import check_signature, parse_event
from mambo.settings import Settings
from mambo.videos.schemas import Received
from mambo.videos.service import WebhookService, provide_webhook_service
from mambo.web.guards import IGNORES_TOKEN, open_to_anyone
from mambo.web.openapi import raises

MAX_EVENT_BYTES = 256_000


@post(
    ["/api/mux/webhook", "/api/webhook"],
    tags=["Video"],
    guards=[open_to_anyone],
    opt={IGNORES_TOKEN: True},
    dependencies={"webhooks": Provide(provide_webhook_service, sync_to_thread=False)},
    request_max_body_size=MAX_EVENT_BYTES,
    status_code=200,
    responses=raises(400, 409, 413),
)
async def receive_event(
    request: Request[Any, Any, Any],
    settings: NamedDependency[Settings],
    webhooks: NamedDependency[WebhookService],
    now: NamedDependency[datetime],
) -> Received:
    """Receive a signed event from Mux; each takes effect once, in any order and however often it arrives."""
    body = await request.body()
    check_signature(request.headers.get("mux-signature"), body, settings.webhook_secrets, now)
    await webhooks.receive(parse_event(body), body)
    return Received()
