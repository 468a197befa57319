"""Reads the settings from the environment, and checks each value."""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

import msgspec
from dotenv import dotenv_values

from mambo.limits.rules import rates
from mambo.settings.model import Settings, SettingsError, variables
from mambo.settings.production import find_problems
from mambo.settings.smtp import check_sender, read_smtp_url
from mambo.settings.urls import async_database_url, is_redis_url, is_web_url


def read_environment(dotenv: Path = Path(".env")) -> dict[str, str]:
    """Return the process environment, and below it `.env`; an empty variable counts as not set."""
    merged = {**dotenv_values(dotenv), **os.environ}
    return {name: value.strip() for name, value in merged.items() if value and value.strip()}


def load_settings(environ: Mapping[str, str]) -> Settings:
    """Return the settings of an environment.

    Raises:
        SettingsError: a variable is missing, malformed, or unsafe in production.

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
    try:
        settings = msgspec.structs.replace(
            settings, database_url=async_database_url(settings.database_url), limits=rates(environ)
        )
        check_urls(settings)
        check_email(settings)
    except ValueError as error:
        raise SettingsError(str(error)) from None
    if settings.is_production and (problems := find_problems(settings)):
        raise SettingsError(" ".join(problems))
    return settings


def check_environment_name(environ: Mapping[str, str]) -> None:
    """Check MAMBO_ENV before anything depends on it.

    Raises:
        SettingsError: it is neither development nor production.

    """
    if environ.get("MAMBO_ENV", "development") not in {"development", "production"}:
        raise SettingsError("MAMBO_ENV must be development or production.")


def split_origins(text: str) -> list[str]:
    """Return origins that are written as a JSON list or separated by commas."""
    if text.startswith("["):
        try:
            return msgspec.json.decode(text, type=list[str])
        except msgspec.MsgspecError:
            raise SettingsError(
                "CORS_ORIGINS is not a list of origins, as in https://a.example,https://b.example."
            ) from None
    return [origin.strip().rstrip("/") for origin in text.split(",") if origin.strip()]


def check_urls(settings: Settings) -> None:
    """Check the URLs of Redis, Mux and the image storage.

    Raises:
        ValueError: one cannot be used; the message is a sentence.

    """
    if settings.redis_url and not is_redis_url(settings.redis_url):
        raise ValueError("REDIS_URL must be a Redis URL, as in redis://user:password@host:6379/0.")
    if not is_web_url(settings.mux_api_url):
        raise ValueError("MUX_API_URL must be an http or https URL, as in https://api.mux.com.")
    # Cloudflare shows endpoint and bucket as one URL, which would name the bucket twice.
    endpoint, domain, bucket = settings.aws_endpoint_url, settings.r2_public_domain, settings.aws_bucket_name
    if endpoint and (not is_web_url(endpoint) or urlsplit(endpoint).path.strip("/") == bucket):
        raise ValueError(
            "AWS_ENDPOINT_URL must be an http or https URL without the bucket, "
            "as in https://ACCOUNT.r2.cloudflarestorage.com."
        )
    if domain and not is_web_url(domain if "://" in domain else f"https://{domain}"):
        raise ValueError(
            "R2_PUBLIC_DOMAIN must be a host, or an http or https URL, as in https://pictures.example.com."
        )


def check_email(settings: Settings) -> None:
    """Check SMTP_URL, MAIL_FROM and WEB_URL.

    Raises:
        ValueError: one cannot be used; the message is a sentence.

    """
    if settings.smtp_url:
        read_smtp_url(settings.smtp_url)
    if settings.mail_from:
        check_sender(settings.mail_from)
    if settings.web_url and not is_web_url(settings.web_url):
        raise ValueError(
            "WEB_URL must be the web client's http or https URL, as in https://app.example.com: the links in mails "
            "begin with it."
        )
