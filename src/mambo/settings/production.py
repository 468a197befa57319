"""What production refuses to start with, as sentences that name the variable and never its value."""

import re
from collections.abc import Collection

from mambo.settings.model import VENDORS, Settings
from mambo.settings.urls import is_encrypted

SECRET_KEY_BYTES = 32
PLACEHOLDERS = re.compile(
    r"change|example|secret[-_ ]?key|your[-_ ]|placeholder|default|insecure|password", re.IGNORECASE
)


def find_problems(settings: Settings) -> list[str]:
    """Return a sentence for each setting that is missing or unsafe in production."""
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
    if not is_encrypted(settings.mux_api_url):
        problems.append("MUX_API_URL must be https: each request to it carries the token.")
    problems += find_email_problems(settings)
    given = {name for names in VENDORS.values() for name in names if getattr(settings, name.lower()) is not None}
    return problems + find_half_configured(given)


def find_email_problems(settings: Settings) -> list[str]:
    """Return a sentence for each setting that is missing or unsafe beside SMTP_URL."""
    if not settings.smtp_url:
        return []
    problems = []
    if not settings.mail_from:
        problems.append("SMTP_URL needs MAIL_FROM, the sender of e-mails, as in Mambo <school@example.com>.")
    if not (settings.web_url or settings.cors_origins):
        problems.append("SMTP_URL needs WEB_URL, the web client's URL, with which the links in mails begin.")
    elif not is_encrypted(settings.web_address):
        problems.append("WEB_URL (or else the first of CORS_ORIGINS) must be https: links in mails hold secrets.")
    return problems


def find_half_configured(given: Collection[str]) -> list[str]:
    """Return a sentence for each vendor of which some variables are given and others are not."""
    problems = []
    for vendor, names in VENDORS.items():
        missing = [name for name in names if name not in given]
        if 0 < len(missing) < len(names):
            problems.append(f"{vendor} is half configured: set {', '.join(missing)} too, or none of its variables.")
    return problems


def find_not_configured(given: Collection[str]) -> list[str]:
    """Return the vendors of which no variable is given."""
    return [vendor for vendor, names in VENDORS.items() if not set(names) & set(given)]
