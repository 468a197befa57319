"""What a process opens once: the database, the vendors' clients, and what is kept in memory.

`create_app` constructs `Resources` without I/O, its lifespan opens it, and `providers` injects each resource by name.
"""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, closing
from datetime import datetime
from pathlib import Path
from typing import Any, Self

from litestar.di import Provide
from msgspec import Struct
from sqlalchemy.ext.asyncio import AsyncEngine

from mambo.adapters.cache import Cache, RedisCache
from mambo.adapters.counters import RedisCounters
from mambo.adapters.mail import FileMailer, Mailer, SmtpMailer
from mambo.adapters.shared_results import SharedResults
from mambo.adapters.storage import ImageStorage, R2ImageStorage
from mambo.adapters.video import MuxVideo, VideoHost
from mambo.auth.emails import EmailNotifier
from mambo.auth.passwords import Passwords
from mambo.auth.principals import PrincipalCache
from mambo.auth.repository import PrincipalRepository, RecoveryRepository
from mambo.auth.tokens import AccessTokens, RefreshTokens, TokenIssuer
from mambo.catalogue.repository import CatalogueRepository
from mambo.catalogue.snapshot import Catalogue
from mambo.clock import Clock
from mambo.database.pool import Pool
from mambo.database.session import Transactions, create_engine, provide_session
from mambo.limits.repository import PostgresCounters
from mambo.limits.service import RateLimiter
from mambo.settings import Settings
from mambo.settings.smtp import read_smtp_url

SHARED_RESULTS_SECONDS = 60.0


class Resources(Struct, frozen=True, kw_only=True):
    """Everything a process opens once. A vendor that is not configured is None."""

    settings: Settings
    clock: Clock
    engine: AsyncEngine
    transactions: Transactions
    pool: Pool
    cache: Cache | None
    image_storage: ImageStorage | None
    video_host: VideoHost | None
    passwords: Passwords
    token_issuer: TokenIssuer
    emails: EmailNotifier
    principals: PrincipalCache
    catalogue: Catalogue
    limiter: RateLimiter
    shared_results: SharedResults

    @classmethod
    def create(cls, settings: Settings, clock: Clock, *, memory_seconds: float) -> Self:
        """Construct all resources, without I/O.

        Principals and the catalogue are taken for unchanged for `memory_seconds`; shared results for 60 times as long.
        """
        engine = create_engine(settings.database_url, pool_size=settings.database_pool_size)
        transactions = Transactions(engine)
        pool = Pool(settings.database_url, size=(settings.database_pool_size + 1) // 2)
        cache = RedisCache(settings.redis_url) if settings.redis_url else None
        token_issuer = create_token_issuer(settings)
        return cls(
            settings=settings,
            clock=clock,
            engine=engine,
            transactions=transactions,
            pool=pool,
            cache=cache,
            image_storage=create_image_storage(settings),
            video_host=create_video_host(settings),
            passwords=Passwords(),
            token_issuer=token_issuer,
            emails=EmailNotifier(
                transactions,
                RecoveryRepository(pool),
                create_mailer(settings, clock),
                settings.web_address,
                clock,
            ),
            principals=PrincipalCache(PrincipalRepository(pool), token_issuer.access, cache, seconds=memory_seconds),
            catalogue=Catalogue(CatalogueRepository(pool), seconds=memory_seconds),
            limiter=RateLimiter(
                PostgresCounters(pool) if cache is None else RedisCounters(cache),
                settings.limits,
                clock,
                lifts_loopback=not settings.is_production,
            ),
            shared_results=SharedResults(cache, seconds=SHARED_RESULTS_SECONDS * memory_seconds),
        )

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[None]:
        """Open the resources, and close them in reverse order at the end of the block."""
        async with AsyncExitStack() as stack:
            stack.push_async_callback(self.engine.dispose)
            stack.enter_context(closing(self.passwords))
            await stack.enter_async_context(self.pool.opened())
            if self.image_storage is not None:
                await stack.enter_async_context(self.image_storage.opened())
            if self.video_host is not None:
                stack.enter_context(closing(self.video_host))
            if self.cache is not None:
                await stack.enter_async_context(self.cache.opened())
                self.principals.listen()
            yield

    def providers(self) -> dict[str, Provide]:
        """Return the dependencies that each handler and provider may ask for by name."""

        def provide_now() -> datetime:
            """Return the instant of this request, aware, in UTC."""
            return self.clock()

        return {
            "now": Provide(provide_now, sync_to_thread=False),
            "session": Provide(provide_session),
            "settings": constant(self.settings),
            "transactions": constant(self.transactions),
            "pool": constant(self.pool),
            "image_storage": constant(self.image_storage),
            "video_host": constant(self.video_host),
            "passwords": constant(self.passwords),
            "token_issuer": constant(self.token_issuer),
            "emails": constant(self.emails),
            "principals": constant(self.principals),
            "catalogue": constant(self.catalogue),
            "limiter": constant(self.limiter),
            "shared_results": constant(self.shared_results),
        }


def constant(value: Any) -> Provide:
    """Provide the same object to every request."""

    def provide() -> Any:
        return value

    return Provide(provide, sync_to_thread=False)


def create_token_issuer(settings: Settings) -> TokenIssuer:
    keys = [settings.secret_key, *([settings.secret_key_previous] if settings.secret_key_previous else [])]
    access = AccessTokens(keys, settings.jwt_algorithm, settings.access_token_lifetime)
    return TokenIssuer(access, RefreshTokens(settings.secret_key))


def create_mailer(settings: Settings, clock: Clock) -> Mailer | None:
    """Return a mailer for SMTP_URL, or in development one that writes files; None in production without SMTP_URL."""
    if settings.smtp_url:
        return SmtpMailer(read_smtp_url(settings.smtp_url), settings.sender, clock)
    folder = Path(settings.mambo_data_dir) / "mail"
    return None if settings.is_production else FileMailer(folder, settings.sender, clock)


def create_image_storage(settings: Settings) -> ImageStorage | None:
    if not settings.has("R2"):
        return None
    return R2ImageStorage(
        endpoint_url=settings.aws_endpoint_url or "",
        access_key_id=settings.aws_access_key_id or "",
        secret_access_key=settings.aws_secret_access_key or "",
        bucket=settings.aws_bucket_name or "",
        public_domain=settings.r2_public_domain or "",
    )


def create_video_host(settings: Settings) -> VideoHost | None:
    if not settings.has("Mux"):
        return None
    return MuxVideo(
        token_id=settings.mux_token_id or "",
        token_secret=settings.mux_token_secret or "",
        api_url=settings.mux_api_url,
        playback_policy=settings.mux_playback_policy,
    )
