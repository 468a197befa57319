"""What an operator can set: one frozen struct, read from the environment and `.env`."""

import os
import re
from collections.abc import Collection, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import msgspec
from dotenv import dotenv_values
from msgspec import Meta, Struct

from mambo.limits.rules import Rate, rates
from mambo.smtp_url import check_sender, read_smtp_url

Algorithm = Literal["HS256", "HS384", "HS512"]
LOCAL_ORIGINS = ("http://localhost:3000", "http://localhost:5173", "http://127.0.0.1:3000", "http://127.0.0.1:5173")
SECRET_KEY_BYTES = 32
PLACEHOLDERS = re.compile(
    r"change|example|secret[-_ ]?key|your[-_ ]|placeholder|default|insecure|password", re.IGNORECASE
)
VENDORS = {
    "Mux": ("MUX_TOKEN_ID", "MUX_TOKEN_SECRET", "MUX_WEBHOOK_SECRET"),
    "R2": ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_ENDPOINT_URL", "AWS_BUCKET_NAME", "R2_PUBLIC_DOMAIN"),
}
# What development has in the place of a vendor that is not configured.
STAND_INS = {
    "Mux": "an emulator that plays nothing and keeps its uploads in {folder}/mux",
    "R2": "a local picture storage in {folder}/storage",
}
HOST = re.compile(r"(?:(?!-)[a-z0-9-]{1,63}(?<!-)\.)*(?!-)[a-z0-9-]{1,63}(?<!-)\.?|[0-9a-f.]*:[0-9a-f:.]*")


class SettingsError(Exception):
    """The environment cannot be used; the message names the variable and what to do, never its value."""


class Settings(Struct, frozen=True, kw_only=True, rename="upper"):
    """The effective settings; each field is the environment variable of the same name in capitals."""

    database_url: str
    secret_key: str
    secret_key_previous: str | None = None
    mambo_env: Literal["development", "production"] = "development"
    jwt_algorithm: Algorithm = "HS256"
    jwt_expiration_days: Annotated[int, Meta(ge=1, le=365)] = 7
    cors_origins: tuple[str, ...] | None = None
    redis_url: str | None = None
    limits: dict[str, Rate] = msgspec.field(default_factory=dict)  # each its own variable: see `limits/rules.py`
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
        """The web origins that may call with credentials: `CORS_ORIGINS`, else local ones in development, else none."""
        if self.cors_origins is not None:
            return self.cors_origins
        return () if self.is_production else LOCAL_ORIGINS

    @property
    def webhook_secrets(self) -> tuple[str, ...]:
        """The secrets that Mux may sign with: two, separated by a comma, while one takes over from the other."""
        return tuple(secret.strip() for secret in (self.mux_webhook_secret or "").split(",") if secret.strip())

    @property
    def web_address(self) -> str:
        """Where the links in mails lead: `WEB_URL`, else the first web client of `CORS_ORIGINS`, else a local one."""
        candidates = (self.web_url or "", *self.allowed_origins, *LOCAL_ORIGINS)
        return next(url.rstrip("/") for url in candidates if is_web_address(url))

    @property
    def sender(self) -> str:
        """Whom mails are from: `MAIL_FROM`; without, nobody at the web client's host."""
        return self.mail_from or f"Mambo <no-reply@{urlsplit(self.web_address).hostname}>"

    def has(self, vendor: str) -> bool:
        """Whether everything that a vendor of `VENDORS` needs is set."""
        return all(getattr(self, name.lower()) is not None for name in VENDORS[vendor])

    @property
    def access_token_lifetime(self) -> timedelta:
        return timedelta(days=self.jwt_expiration_days)


def environment(dotenv: Path = Path(".env")) -> dict[str, str]:
    """The process environment over `.env`; a variable set to nothing counts as not set."""
    merged = {**dotenv_values(dotenv), **os.environ}
    return {name: value.strip() for name, value in merged.items() if value and value.strip()}


def load_settings(environ: Mapping[str, str]) -> Settings:
    """Read and check the settings.

    Raises:
        SettingsError: a variable is missing, malformed or unsafe in production.

    """
    check_environment_name(environ)
    values: dict[str, object] = {name: environ[name] for name in variables() if name in environ}
    for required in ("DATABASE_URL", "SECRET_KEY"):
        if required not in values:
            raise SettingsError(
                f"{required} is not set: set it in the environment or in .env, or start with `mambo serve`."
            )
    if "CORS_ORIGINS" in environ:
        values["CORS_ORIGINS"] = split_origins(environ["CORS_ORIGINS"])
    try:
        settings = msgspec.convert(values, Settings, strict=False)
    except msgspec.ValidationError as error:
        reason, _, variable = str(error).partition(" - at `$.")
        raise SettingsError(f"{variable.rstrip('`')} cannot be used: {re.sub(r', got.*', '', reason)}.") from None
    settings = msgspec.structs.replace(
        settings, database_url=async_database_url(settings.database_url), limits=limits_in(environ)
    )
    check_redis_url(settings.redis_url)
    check_web_addresses(settings)
    check_mail(settings)
    if settings.is_production and (problems := find_problems(settings)):
        raise SettingsError(" ".join(problems))
    return settings


def check_environment_name(environ: Mapping[str, str]) -> None:
    """Refuse a misspelt MAMBO_ENV before anything depends on it."""
    if environ.get("MAMBO_ENV", "development") not in {"development", "production"}:
        raise SettingsError("MAMBO_ENV must be development or production.")


def variables() -> tuple[str, ...]:
    """The environment variable of each field, in the order of the struct."""
    return tuple(field.encode_name for field in msgspec.structs.fields(Settings) if field.name != "limits")


def limits_in(environ: Mapping[str, str]) -> dict[str, Rate]:
    try:
        return rates(environ)
    except ValueError as error:
        raise SettingsError(str(error)) from None


def check_redis_url(url: str | None) -> None:
    """Refuse what is no address of a Redis."""
    try:
        is_readable = url is None or (urlsplit(url).scheme in {"redis", "rediss", "unix"} and urlsplit(url).port != 0)
    except ValueError:
        is_readable = False
    if not is_readable:
        raise SettingsError("REDIS_URL must be a Redis URL, as in redis://user:password@host:6379/0.")


def split_origins(text: str) -> list[str]:
    """Origins written as a JSON list or separated by commas."""
    if text.startswith("["):
        try:
            return msgspec.json.decode(text, type=list[str])
        except msgspec.MsgspecError:
            raise SettingsError(
                "CORS_ORIGINS is not a list of origins, as in https://a.example,https://b.example."
            ) from None
    return [origin.strip().rstrip("/") for origin in text.split(",") if origin.strip()]


def async_database_url(url: str) -> str:
    """The URL for SQLAlchemy's asyncpg dialect: any PostgreSQL scheme, libpq's `sslmode` as asyncpg's `ssl`.

    Raises:
        SettingsError: the URL is not one of PostgreSQL.

    """
    try:
        parts = urlsplit(url)
        is_readable = parts.scheme.split("+")[0] in {"postgres", "postgresql"} and parts.port != 0
    except ValueError:
        is_readable = False
    if not is_readable:
        raise SettingsError("DATABASE_URL must be a PostgreSQL URL, as in postgresql://user:password@host:5432/mambo.")
    query = [("ssl" if key == "sslmode" else key, value) for key, value in parse_qsl(parts.query)]
    query = [(key, value) for key, value in query if key != "channel_binding"]  # libpq's, unknown to asyncpg
    return urlunsplit(parts._replace(scheme="postgresql+asyncpg", query=urlencode(query, safe="/")))


def check_web_addresses(settings: Settings) -> None:
    """Refuse addresses of Mux and of the storage that nothing could be sent to.

    Raises:
        SettingsError: one is not the http or https URL that is needed.

    """
    endpoint, domain, bucket = settings.aws_endpoint_url, settings.r2_public_domain, settings.aws_bucket_name
    if not is_web_address(settings.mux_api_url):
        raise SettingsError("MUX_API_URL must be an http or https URL, as in https://api.mux.com.")
    # Cloudflare shows the two as one, and the bucket would come twice then.
    if endpoint and (not is_web_address(endpoint) or urlsplit(endpoint).path.strip("/") == bucket):
        raise SettingsError(
            "AWS_ENDPOINT_URL must be an http or https URL without the bucket, "
            "as in https://ACCOUNT.r2.cloudflarestorage.com."
        )
    if domain and not is_web_address(domain if "://" in domain else f"https://{domain}"):
        raise SettingsError(
            "R2_PUBLIC_DOMAIN must be a host, or an http or https URL, as in https://pictures.example.com."
        )


def check_mail(settings: Settings) -> None:
    """Refuse what no mail could be sent with.

    Raises:
        SettingsError: SMTP_URL, MAIL_FROM or WEB_URL cannot be used.

    """
    try:
        if settings.smtp_url:
            read_smtp_url(settings.smtp_url)
        if settings.mail_from:
            check_sender(settings.mail_from)
    except ValueError as error:
        raise SettingsError(str(error)) from None
    if settings.web_url and not is_web_address(settings.web_url):
        raise SettingsError(
            "WEB_URL must be the web client's http or https URL, as in https://app.example.com: the links in mails "
            "begin with it."
        )


def is_web_address(url: str) -> bool:
    """Whether it is an http or https URL to which a path can be added, and that carries no password."""
    try:
        parts = urlsplit(url)
        is_readable = parts.port != 0 and not re.search(r"[\s?#@\\]", url)
    except ValueError:
        return False
    return is_readable and parts.scheme in {"http", "https"} and bool(HOST.fullmatch(parts.hostname or ""))


def find_problems(settings: Settings) -> list[str]:
    """Sentences about what production refuses to start with; none holds a value."""
    problems = []
    key = settings.secret_key
    if len(key.encode()) < SECRET_KEY_BYTES or len(set(key)) < SECRET_KEY_BYTES // 4 or PLACEHOLDERS.search(key):
        problems.append(
            f"SECRET_KEY is short, a default or easily guessed: use {SECRET_KEY_BYTES} random bytes or more, "
            'as from python -c "import secrets; print(secrets.token_urlsafe(48))".'
        )
    if any("*" in origin for origin in settings.allowed_origins):
        problems.append(
            "CORS_ORIGINS must name each web client's origin, as in https://app.example.com, and never `*`."
        )
    if not is_private(settings.mux_api_url):
        problems.append("MUX_API_URL must be https: each request to it carries the token.")
    problems += find_mail_problems(settings)
    given = {name for names in VENDORS.values() for name in names if getattr(settings, name.lower()) is not None}
    return problems + find_half_configured(given)


def is_private(url: str) -> bool:
    """Whether nobody on the way reads along: https, or this machine."""
    parts = urlsplit(url)
    return parts.scheme == "https" or parts.hostname in {"localhost", "127.0.0.1", "::1"}


def find_mail_problems(settings: Settings) -> list[str]:
    """Sentences about what is missing or unsafe where SMTP_URL is set."""
    if not settings.smtp_url:
        return []
    problems = []
    if not settings.mail_from:
        problems.append("SMTP_URL needs MAIL_FROM, whom mails are from, as in Mambo <school@example.com>.")
    if not (settings.web_url or settings.cors_origins):
        problems.append("SMTP_URL needs WEB_URL, the web client's URL, with which the links in mails begin.")
    elif not is_private(settings.web_address):
        problems.append("WEB_URL (or else the first of CORS_ORIGINS) must be https: links in mails hold secrets.")
    return problems


def find_half_configured(given: Collection[str]) -> list[str]:
    """Sentences about vendors of which some variables are among those given, and others are not."""
    problems = []
    for vendor, names in VENDORS.items():
        missing = [name for name in names if name not in given]
        if 0 < len(missing) < len(names):
            problems.append(f"{vendor} is half configured: set {', '.join(missing)} too, or none of its variables.")
    return problems


def find_not_configured(given: Collection[str]) -> list[str]:
    """The vendors of which no variable is among those given."""
    return [vendor for vendor, names in VENDORS.items() if not set(names) & set(given)]


def masked(settings: Settings) -> dict[str, str]:
    """Each variable with its effective value for a person to read, secrets and passwords hidden."""
    shown: dict[str, str] = {}
    for field in msgspec.structs.fields(Settings):
        if field.name == "limits":
            shown |= {name: str(rate) for name, rate in settings.limits.items()}
            continue
        value = settings.allowed_origins if field.name == "cors_origins" else getattr(settings, field.name)
        text = "-" if value is None else ", ".join(value) if isinstance(value, tuple) else str(value)
        if value is not None and re.search(r"SECRET|KEY|TOKEN", field.encode_name):
            text = "********"
        text = re.sub(r"://.*@", "://********@", text)
        shown[field.encode_name] = re.sub(r"(password|secret|token)=[^&]*", r"\1=********", text)
    return shown
