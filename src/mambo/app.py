"""The composition root: what the app is made of, as a table of contents."""

from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager

from litestar import Litestar
from litestar.config.cors import CORSConfig
from litestar.datastructures import State
from litestar.di import Provide
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import async_sessionmaker

from mambo import db
from mambo.adapters.storage import PictureStore, open_storage
from mambo.adapters.video import MuxVideo, VideoHost
from mambo.auth.controller import AuthController
from mambo.auth.middleware import Authentication
from mambo.auth.passwords import Passwords
from mambo.auth.tokens import AccessTokens
from mambo.clock import Clock, provide_now, utc_now
from mambo.courses.admin_controller import CourseAdminController
from mambo.errors import on_error, require_json
from mambo.guards import provide_principal, provide_visitor
from mambo.health import HealthController
from mambo.learning.admin_controller import delete_course, get_stats
from mambo.learning.controller import CatalogueController, LessonController
from mambo.logs import RequestEnvelope, configure_logging
from mambo.media.admin_controller import VideoController
from mambo.media.controller import PictureController, receive_event
from mambo.openapi import documentation_routes, openapi_config
from mambo.people.admin_controller import PeopleAdminController
from mambo.people.controller import ProfileController
from mambo.settings import Settings, environment, load_settings
from mambo.upkeep.service import running, upkeep_of

MAX_BODY_BYTES = 1_000_000
UPKEEP_SECONDS = 10.0


def create_app(
    settings: Settings | None = None, *, clock: Clock = utc_now, upkeep_seconds: float | None = UPKEEP_SECONDS
) -> Litestar:
    """Build the app; without settings it reads the environment, as `uvicorn --factory mambo.app:create_app` needs it.

    `upkeep_seconds` is how often it looks for what is due in the background; None is never.

    Raises:
        SettingsError: a setting is missing, malformed or unsafe.

    """
    settings = settings or load_settings(environment())
    configure_logging(is_production=settings.is_production)

    @asynccontextmanager
    async def resources(app: Litestar) -> AsyncIterator[None]:
        engine = db.create_engine(settings.database_url, pool_size=settings.database_pool_size)
        passwords = Passwords()
        app.state.sessions = async_sessionmaker(engine, expire_on_commit=False)
        # For single statements outside a request's transaction: no BEGIN, and the connection goes back at once.
        app.state.reads = async_sessionmaker(engine.execution_options(isolation_level="AUTOCOMMIT"))
        app.state.passwords = passwords
        async with AsyncExitStack() as stack:
            stack.push_async_callback(engine.dispose)
            stack.callback(passwords.close)
            app.state.pictures = await stack.enter_async_context(picture_store(settings))
            app.state.video = stack.enter_context(video_host(settings))
            if upkeep_seconds is not None:
                stack.enter_context(running(upkeep_of(app.state), every=upkeep_seconds))
            yield

    app = Litestar(
        route_handlers=[
            HealthController,
            AuthController,
            ProfileController,
            CatalogueController,
            LessonController,
            PeopleAdminController,
            CourseAdminController,
            delete_course,
            get_stats,
            PictureController,
            VideoController,
            receive_event,
            *documentation_routes(),
        ],
        dependencies={
            "session": Provide(db.provide_session),
            "now": Provide(provide_now),
            "principal": Provide(provide_principal),
            "visitor": Provide(provide_visitor),
        },
        middleware=[Authentication()],
        before_request=require_json,
        exception_handlers={
            DBAPIError: db.on_database_error,
            PoolTimeoutError: db.on_database_error,
            OSError: db.on_database_error,
            Exception: on_error,
        },
        cors_config=CORSConfig(
            allow_origins=list(settings.allowed_origins),
            allow_credentials=True,
            allow_methods=["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"],
            allow_headers=["Authorization", "Content-Type", "X-Request-Id"],
            expose_headers=["X-Request-Id", "Retry-After"],
        ),
        state=State(
            {
                "clock": clock,
                "allowed_origins": settings.allowed_origins,
                "webhook_secrets": settings.webhook_secrets,
                "tokens": AccessTokens(settings.secret_key, settings.jwt_algorithm, settings.access_token_lifetime),
            }
        ),
        lifespan=[resources],
        request_max_body_size=MAX_BODY_BYTES,
        openapi_config=openapi_config(),
        logging_config=None,
        debug=False,
    )
    # Litestar's hooks miss unknown routes and preflights, so the envelope goes around all of it.
    app.asgi_handler = RequestEnvelope(app.asgi_handler, is_production=settings.is_production)
    return app


@asynccontextmanager
async def picture_store(settings: Settings) -> AsyncIterator[PictureStore | None]:
    """R2, or whatever else is configured in its place; None without."""
    if not settings.has("R2"):
        yield None
        return
    async with open_storage(
        endpoint_url=settings.aws_endpoint_url or "",
        access_key_id=settings.aws_access_key_id or "",
        secret_access_key=settings.aws_secret_access_key or "",
        bucket=settings.aws_bucket_name or "",
        public_domain=settings.r2_public_domain or "",
    ) as store:
        yield store


@contextmanager
def video_host(settings: Settings) -> Iterator[VideoHost | None]:
    """Mux, or whatever speaks like it at MUX_API_URL; None without."""
    if not settings.has("Mux"):
        yield None
        return
    host = MuxVideo(
        token_id=settings.mux_token_id or "",
        token_secret=settings.mux_token_secret or "",
        api_url=settings.mux_api_url,
        playback_policy=settings.mux_playback_policy,
    )
    try:
        yield host
    finally:
        host.close()
