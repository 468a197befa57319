"""The composition root: what the app is made of, as a table of contents."""

import gc
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from pathlib import Path

from litestar import Litestar
from litestar.config.cors import CORSConfig
from litestar.datastructures import State
from litestar.di import Provide
from sqlalchemy.ext.asyncio import async_sessionmaker

from mambo import db
from mambo.adapters.answers import SharedAnswers
from mambo.adapters.cache import open_redis
from mambo.adapters.mail import FileMailer, Mailer, SmtpMailer
from mambo.adapters.storage import PictureStore, open_storage
from mambo.adapters.video import MuxVideo, VideoHost
from mambo.auth.admin_controller import SessionAdminController
from mambo.auth.controller import AuthController, SessionController
from mambo.auth.middleware import Authentication
from mambo.auth.passwords import Passwords
from mambo.auth.principals import Principals
from mambo.auth.service import TokenMaker
from mambo.auth.tokens import AccessTokens, RefreshTokens
from mambo.clock import Clock, provide_now, utc_now
from mambo.comments.controller import CommentController
from mambo.courses.admin_controller import CourseAdminController
from mambo.errors import on_error, require_json
from mambo.game.admin_controller import adjust_xp
from mambo.game.controller import GameController, get_rules
from mambo.guards import provide_principal, provide_visitor
from mambo.health import HealthController
from mambo.learning.catalogue import Catalogue
from mambo.learning.controller import CatalogueController, Doorstep, LessonController
from mambo.learning.repository import CatalogueSource
from mambo.limits.repository import PostgresCounts, RedisCounts
from mambo.limits.service import Limits
from mambo.logs import RequestEnvelope, configure_logging
from mambo.media.admin_controller import VideoController
from mambo.media.controller import PictureController, receive_event
from mambo.openapi import documentation_routes, openapi_config
from mambo.people.admin_controller import PeopleAdminController
from mambo.people.controller import ProfileController
from mambo.quizzes.controller import QuizController
from mambo.recovery.controller import RecoveryController, resend_verification
from mambo.recovery.service import Letters
from mambo.school.admin_controller import delete_course, get_stats
from mambo.settings import Settings, environment, load_settings
from mambo.smtp_url import read_smtp_url
from mambo.submissions.admin_controller import SubmissionAdminController
from mambo.submissions.controller import SubmissionController
from mambo.upkeep.service import running, upkeep_of

MAX_BODY_BYTES = 1_000_000
UPKEEP_SECONDS = 10.0


def create_app(
    settings: Settings | None = None,
    *,
    clock: Clock = utc_now,
    upkeep_seconds: float | None = UPKEEP_SECONDS,
    memory_seconds: float = 1.0,
) -> Litestar:
    """Build the app; without settings it reads the environment, as `uvicorn --factory mambo.app:create_app` needs it.

    `upkeep_seconds` is how often it looks for what is due in the background; None is never. `memory_seconds` is how
    long it remembers who is behind a session and takes the catalogue for unchanged; answers that are shared it keeps
    for sixty times as long.

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
        app.state.letters = Letters(app.state.sessions, mailer(settings, clock), settings.web_address, clock)
        app.state.after_registering = app.state.letters.send_verification
        async with AsyncExitStack() as stack:
            stack.push_async_callback(engine.dispose)
            stack.callback(passwords.close)
            app.state.pool = await stack.enter_async_context(
                db.open_pool(settings.database_url, size=(settings.database_pool_size + 1) // 2)
            )
            app.state.catalogue = Catalogue(CatalogueSource(app.state.pool), seconds=memory_seconds)
            app.state.principals = Principals(app.state.pool, app.state.token_maker.access, seconds=memory_seconds)
            app.state.pictures = await stack.enter_async_context(picture_store(settings))
            app.state.video = stack.enter_context(video_host(settings))
            cache = await stack.enter_async_context(open_redis(settings.redis_url)) if settings.redis_url else None
            if cache is not None:
                app.state.principals.share(cache)
            app.state.answers = SharedAnswers(cache, seconds=60 * memory_seconds)
            counts = RedisCounts(cache) if cache is not None else PostgresCounts(app.state.pool)
            app.state.limits = Limits(counts, settings.limits, clock, lifts_loopback=not settings.is_production)
            if upkeep_seconds is not None:
                stack.enter_context(running(upkeep_of(app.state), every=upkeep_seconds))
            # What has been imported stays, and requests leave few circles: the collector need not look so often.
            gc.collect()
            gc.freeze()
            gc.set_threshold(10_000)
            yield

    app = Litestar(
        route_handlers=[
            HealthController,
            AuthController,
            SessionController,
            SessionAdminController,
            RecoveryController,
            resend_verification,
            ProfileController,
            CatalogueController,
            LessonController,
            CommentController,
            QuizController,
            GameController,
            get_rules,
            PeopleAdminController,
            adjust_xp,
            CourseAdminController,
            delete_course,
            get_stats,
            PictureController,
            VideoController,
            receive_event,
            SubmissionController,
            SubmissionAdminController,
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
            **dict.fromkeys(db.ERRORS, db.on_database_error),
            Exception: on_error,
        },
        cors_config=CORSConfig(
            allow_origins=list(settings.allowed_origins),
            allow_credentials=True,
            allow_methods=["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"],
            allow_headers=["Authorization", "Content-Type", "X-Request-Id"],
            expose_headers=["X-Request-Id", "Retry-After", "RateLimit", "RateLimit-Policy"],
        ),
        state=State(
            {
                "clock": clock,
                "allowed_origins": settings.allowed_origins,
                "webhook_secrets": settings.webhook_secrets,
                "token_maker": token_maker(settings),
            }
        ),
        lifespan=[resources],
        request_max_body_size=MAX_BODY_BYTES,
        openapi_config=openapi_config(),
        logging_config=None,
        debug=False,
    )
    # Litestar's hooks miss unknown routes and preflights, so the envelope goes around all of it.
    doorstep = Doorstep(app.asgi_handler, app.state)
    app.asgi_handler = RequestEnvelope(doorstep, is_production=settings.is_production)
    return app


def token_maker(settings: Settings) -> TokenMaker:
    keys = [settings.secret_key, *([settings.secret_key_previous] if settings.secret_key_previous else [])]
    access = AccessTokens(keys, settings.jwt_algorithm, settings.access_token_lifetime)
    return TokenMaker(access, RefreshTokens(settings.secret_key))


def mailer(settings: Settings, clock: Clock) -> Mailer | None:
    """A mail server, or in development a folder; None in production without SMTP_URL."""
    if settings.smtp_url:
        return SmtpMailer(read_smtp_url(settings.smtp_url), settings.sender, clock)
    folder = Path(settings.mambo_data_dir) / "mail"
    return None if settings.is_production else FileMailer(folder, settings.sender, clock)


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
