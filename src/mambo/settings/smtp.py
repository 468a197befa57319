"""`SMTP_URL` and `MAIL_FROM`."""

import re
from email.policy import SMTP
from urllib.parse import parse_qsl, unquote, urlsplit

from msgspec import Struct

STARTTLS = {"required": True, "if_offered": None, "never": False}


class SmtpServer(Struct, frozen=True):
    """A mail server. `starttls` is True if it is required, None if it is used where offered, False if never."""

    host: str
    port: int
    username: str | None
    password: str | None
    is_tls_from_start: bool
    starttls: bool | None


def read_smtp_url(url: str) -> SmtpServer:
    """Return the server of an `smtp://` or `smtps://` URL.

    A password is sent encrypted, unless the URL has `?starttls=never`.

    Raises:
        ValueError: the URL cannot be used; the message is a sentence without the value.

    """
    try:
        parts = urlsplit(url)
        port, options = parts.port, dict(parse_qsl(parts.query, keep_blank_values=True))
        is_readable = parts.scheme in {"smtp", "smtps"} and parts.hostname and not re.search(r"\s", url)
    except ValueError:
        is_readable = False
    if not is_readable or port == 0 or parts.path.strip("/") or parts.fragment:
        raise ValueError(
            "SMTP_URL must be a URL as in smtp://user:password@smtp.example.com:587, or smtps:// for TLS at once; "
            "a special character in the user or password is percent-encoded, as in %40 for @."
        )
    is_tls = parts.scheme == "smtps"
    starttls = options.pop("starttls", "required" if parts.username else "if_offered")
    if options or starttls not in STARTTLS or (is_tls and parts.query):
        raise ValueError(f"SMTP_URL takes one option, and with smtp:// only: ?starttls={', '.join(STARTTLS)}.")
    if bool(parts.username) != bool(parts.password):
        raise ValueError("SMTP_URL must hold a user and a password, or neither.")
    return SmtpServer(
        host=parts.hostname or "",
        port=port or (465 if is_tls else 587 if parts.username else 25),
        username=unquote(parts.username) if parts.username else None,
        password=unquote(parts.password) if parts.password else None,
        is_tls_from_start=is_tls,
        starttls=False if is_tls else STARTTLS[starttls],
    )


def check_sender(text: str) -> None:
    """Check the sender of e-mails.

    Raises:
        ValueError: it is not one address; the message is a sentence without the value.

    """
    header = SMTP.header_factory("From", text) if text.isprintable() else None
    if header is None or header.defects or len(header.addresses) != 1 or not header.addresses[0].domain.isascii():
        raise ValueError("MAIL_FROM must be one address, with a name or without, as in Mambo <school@example.com>.")
