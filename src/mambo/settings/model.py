"""What an operator can set."""

from datetime import timedelta
from typing import Annotated, Literal
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta, Struct

from mambo.limits.rules import Rate
from mambo.settings.urls import is_web_url

LOCAL_ORIGINS = ("http://localhost:3000", "http://localhost:5173", "http://127.0.0.1:3000", "http://127.0.0.1:5173")
# The variables that a vendor needs: all or none.
VENDORS = {
    "Mux": ("MUX_TOKEN_ID", "MUX_TOKEN_SECRET", "MUX_WEBHOOK_SECRET"),
    "R2": ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_ENDPOINT_URL", "AWS_BUCKET_NAME", "R2_PUBLIC_DOMAIN"),
}


class SettingsError(Exception):
    """The environment cannot be used. The message names the variable and what to do, never its value."""


class Settings(Struct, frozen=True, kw_only=True, rename="upper"):
    """The effective settings; each field is the environment variable of the same name in capitals."""

    database_url: str
    secret_key: str
    secret_key_previous: str | None = None
    mambo_env: Literal["development", "production"] = "development"
    jwt_algorithm: Literal["HS256", "HS384", "HS512"] = "HS256"
    jwt_expiration_days: Annotated[int, Meta(ge=1, le=365)] = 7
    cors_origins: tuple[str, ...] | None = None
    redis_url: str | None = None
    limits: dict[str, Rate] = msgspec.field(default_factory=dict)  # a variable for each rule of `limits.rules`
    database_pool_size: Annotated[int, Meta(ge=1, le=100)] = 10
    mux_token_id: str | None = None
    mux_token_secret: str | None = None
    mux_webhook_secret: str | None = None
    mux_api_url: str = "https://api.mux.com"
    mux_playback_policy: Literal["public", "signed"] = "public"
    aws_access_key_id: str | None = None
    aws_secret_access_key: str | None = None
    aws_endpoint_url: str | None = None
    aws_bucket_name: str | None = None
    r2_public_domain: str | None = None
    smtp_url: str | None = None
    mail_from: str | None = None
    web_url: str | None = None
    mambo_data_dir: str = ".mambo"

    @property
    def is_production(self) -> bool:
        return self.mambo_env == "production"

    @property
    def allowed_origins(self) -> tuple[str, ...]:
        """The web origins that may call with credentials: `CORS_ORIGINS`, or local ones in development."""
        if self.cors_origins is not None:
            return self.cors_origins
        return () if self.is_production else LOCAL_ORIGINS

    @property
    def webhook_secrets(self) -> tuple[str, ...]:
        """The secrets that Mux may sign with: two while one replaces the other."""
        return tuple(secret.strip() for secret in (self.mux_webhook_secret or "").split(",") if secret.strip())

    @property
    def web_address(self) -> str:
        """The address that links in e-mails begin with: `WEB_URL`, or the first of the allowed origins."""
        candidates = (self.web_url or "", *self.allowed_origins, *LOCAL_ORIGINS)
        return next(url.rstrip("/") for url in candidates if is_web_url(url))

    @property
    def sender(self) -> str:
        """The sender of e-mails: `MAIL_FROM`, or `no-reply` at the web client's host."""
        return self.mail_from or f"Mambo <no-reply@{urlsplit(self.web_address).hostname}>"

    def has(self, vendor: str) -> bool:
        """Return whether every variable of a vendor of `VENDORS` is set."""
        return all(getattr(self, name.lower()) is not None for name in VENDORS[vendor])

    @property
    def access_token_lifetime(self) -> timedelta:
        return timedelta(days=self.jwt_expiration_days)


def variables() -> tuple[str, ...]:
    """Return the environment variables of all fields but `limits`, in the order of the struct."""
    return tuple(field.encode_name for field in msgspec.structs.fields(Settings) if field.name != "limits")
