"""Checks of URLs in settings."""

import re
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

HOST = re.compile(r"(?:(?!-)[a-z0-9-]{1,63}(?<!-)\.)*(?!-)[a-z0-9-]{1,63}(?<!-)\.?|[0-9a-f.]*:[0-9a-f:.]*")
LOOPBACK = {"localhost", "127.0.0.1", "::1"}


def is_web_url(url: str) -> bool:
    """Return whether it is an http or https URL to which a path can be appended, without a password."""
    try:
        parts = urlsplit(url)
        is_readable = parts.port != 0 and not re.search(r"[\s?#@\\]", url)
    except ValueError:
        return False
    return is_readable and parts.scheme in {"http", "https"} and bool(HOST.fullmatch(parts.hostname or ""))


def is_encrypted(url: str) -> bool:
    """Return whether nobody on the way can read a request: the URL is https, or on this machine."""
    parts = urlsplit(url)
    return parts.scheme == "https" or parts.hostname in LOOPBACK


def is_redis_url(url: str) -> bool:
    try:
        return urlsplit(url).scheme in {"redis", "rediss", "unix"} and urlsplit(url).port != 0
    except ValueError:
        return False


def async_database_url(url: str) -> str:
    """Return the URL for SQLAlchemy's asyncpg dialect: libpq's `sslmode` becomes asyncpg's `ssl`.

    Raises:
        ValueError: it is not a PostgreSQL URL; the message is a sentence.

    """
    try:
        parts = urlsplit(url)
        is_readable = parts.scheme.split("+")[0] in {"postgres", "postgresql"} and parts.port != 0
    except ValueError:
        is_readable = False
    if not is_readable:
        raise ValueError("DATABASE_URL must be a PostgreSQL URL, as in postgresql://user:password@host:5432/mambo.")
    query = [("ssl" if key == "sslmode" else key, value) for key, value in parse_qsl(parts.query)]
    query = [(key, value) for key, value in query if key != "channel_binding"]  # libpq's, unknown to asyncpg
    return urlunsplit(parts._replace(scheme="postgresql+asyncpg", query=urlencode(query, safe="/")))
