"""The composition root: what the app is made of, as a table of contents."""

import gc
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from litestar import Litestar, Request
from litestar.config.cors import CORSConfig
from litestar.datastructures import State
from litestar.di import Provide

from mambo.accounts.admin_controller import UserAdminController
from mambo.accounts.controller import ProfileController
from mambo.auth.admin_controller import SessionAdminController
from mambo.auth.controller import AuthController, SessionController
from mambo.auth.middleware import AuthenticationMiddleware
from mambo.catalogue.controller import CatalogueController, LessonController
from mambo.catalogue.middleware import CachedCatalogueMiddleware
from mambo.clock import Clock, utc_now
from mambo.comments.controller import CommentController
from mambo.courses.admin_controller import CourseAdminController
from mambo.database.errors import DATABASE_ERRORS
from mambo.game.admin_controller import adjust_xp
from mambo.game.controller import GameController, get_rules
from mambo.images.controller import ImageController
from mambo.jobs import running
from mambo.limits.service import RateLimiter, enforce_limit
from mambo.maintenance.jobs import handlers_of, schedules_of
from mambo.maintenance.service import MaintenanceService
from mambo.progress.controller import ProgressController
from mambo.progress.events import WorldCompletedHandlers
from mambo.quizzes.controller import QuizController
from mambo.reports.admin_controller import get_stats
from mambo.resources import Resources, constant
from mambo.settings import Settings, load_settings, read_environment
from mambo.submissions.admin_controller import SubmissionAdminController
from mambo.submissions.controller import SubmissionController
from mambo.videos.admin_controller import VideoController
from mambo.videos.controller import receive_event
from mambo.web.docs_pages import documentation_routes
from mambo.web.error_handlers import on_database_error, on_error, require_json
from mambo.web.health import HealthController
from mambo.web.openapi import openapi_config
from mambo.web.principal import provide_principal, provide_visitor
from mambo.web.request_log import RequestMiddleware, configure_logging

MAX_BODY_BYTES = 1_000_000


def create_app(
    settings: Settings | None = None,
    *,
    clock: Clock = utc_now,
    runs_jobs: bool = True,
    memory_seconds: float = 1.0,
    on_world_completed: WorldCompletedHandlers = (),
) -> Litestar:
    """Build the app; without settings it reads the environment, as `uvicorn --factory mambo.app:create_app` needs it.

    With `runs_jobs` the process also runs background jobs. It caches principals and the catalogue for `memory_seconds`,
    and shared results for 60 times as long.
    `on_world_completed` are the handlers of that event, in order.

    Raises:
        SettingsError: a setting is missing, malformed or unsafe.

    """
    settings = settings or load_settings(read_environment())
    configure_logging(is_production=settings.is_production)

    resources = Resources.create(settings, clock, memory_seconds=memory_seconds)

    @asynccontextmanager
    async def lifespan(_: Litestar) -> AsyncIterator[None]:
        async with resources.opened():
            if not runs_jobs:
                yield
                return
            maintenance = maintenance_of(resources)
            handlers = [*resources.emails.handlers(), *handlers_of(maintenance)]
            async with running(settings.database_url, handlers, schedules_of(maintenance)):
                yield

    app = Litestar(
        route_handlers=[
            HealthController,
            AuthController,
            SessionController,
            SessionAdminController,
            ProfileController,
            CatalogueController,
            LessonController,
            ProgressController,
            CommentController,
            QuizController,
            GameController,
            get_rules,
            UserAdminController,
            adjust_xp,
            CourseAdminController,
            get_stats,
            ImageController,
            VideoController,
            receive_event,
            SubmissionController,
            SubmissionAdminController,
            *documentation_routes(),
        ],
        dependencies={
            **resources.providers(),
            "on_world_completed": constant(on_world_completed),
            "principal": Provide(provide_principal),
            "visitor": Provide(provide_visitor),
        },
        middleware=[AuthenticationMiddleware(resources.principals, clock)],
        before_request=before_request(resources.limiter),
        exception_handlers={
            **dict.fromkeys(DATABASE_ERRORS, on_database_error),
            Exception: on_error,
        },
        cors_config=CORSConfig(
            allow_origins=list(settings.allowed_origins),
            allow_credentials=True,
            allow_methods=["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"],
            allow_headers=["Authorization", "Content-Type", "X-Request-Id"],
            expose_headers=["X-Request-Id", "Retry-After", "RateLimit", "RateLimit-Policy"],
        ),
        state=State({"resources": resources}),
        lifespan=[lifespan],
        request_max_body_size=MAX_BODY_BYTES,
        openapi_config=openapi_config(),
        logging_config=None,
        debug=False,
    )
    # Around the whole app, because Litestar's own middleware misses unknown routes and preflights.
    app.asgi_handler = RequestMiddleware(
        CachedCatalogueMiddleware(app.asgi_handler, resources.catalogue), is_production=settings.is_production
    )
    return app


def before_request(limiter: RateLimiter) -> Callable[[Request[Any, Any, Any]], Awaitable[None]]:
    """Return the hook that runs between a route's guards and its handler."""

    async def hook(request: Request[Any, Any, Any]) -> None:
        await enforce_limit(limiter, request)
        await require_json(request)

    return hook


def maintenance_of(resources: Resources) -> MaintenanceService:
    return MaintenanceService(resources.transactions, resources.video_host, resources.image_storage, resources.clock)


def create_server_app() -> Litestar:
    """Create the app for a process that does nothing else: uvicorn's factory in the image and in `mambo serve`."""
    app = create_app()
    # What has been imported stays, and requests leave few cycles: the collector need not look so often.
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000)
    return app
