"""The rules of signing in as pure functions: values in, values out, the time is an argument."""

import re
from collections.abc import Set as AbstractSet
from datetime import datetime, timedelta
from ipaddress import ip_address, ip_network

from mambo.errors import Invalid
from mambo.game.rules import is_timezone

SESSION_LIFETIME = timedelta(days=90)
SESSION_IDLE = timedelta(days=30)
SEEN_EVERY = timedelta(minutes=5)
MAX_SESSIONS = 10
REUSE_GRACE = timedelta(seconds=10)
DEVICE_NAME_LENGTH = 120

SYMBOL = r"[ -@\[-`{-~]"  # an ASCII digit, punctuation mark or space
UP_TO_FIVE_SYMBOLS = re.compile(SYMBOL + r"{1,5}\Z")  # such as a year and an exclamation mark
SCHOOL_WORDS = re.compile(rf"{SYMBOL}*(?:(?:the|mambo|inn|salsa|on[ -/_]*(?:2|two)|dance[rs]?|dancing){SYMBOL}*)+")


def require_timezone(name: str) -> None:
    """Refuse a name that is not a time zone of the IANA database.

    Raises:
        Invalid: it is not.

    """
    if not is_timezone(name):
        raise Invalid.field("timezone", "is not a time zone of the IANA database, such as America/New_York")


def refresh_token_end(now: datetime, session_end: datetime) -> datetime:
    """Return when a refresh token expires: after 30 days without use, and with its session at the latest."""
    return min(now + SESSION_IDLE, session_end)


def principal_end(session_end: datetime, subscription_end: datetime | None, now: datetime) -> datetime:
    """Return the first moment after `now` at which what is known of a principal is no longer true."""
    if subscription_end is not None and subscription_end > now:
        return min(session_end, subscription_end)
    return session_end


def is_reuse(used_at: datetime, now: datetime, *, is_child_unused: bool | None) -> bool:
    """Return whether presenting a used refresh token again means that it was stolen.

    A client may repeat a request whose response was lost, but only for ten seconds and only before it has used the
    token of that response (the child). `is_child_unused` is None when the child is unknown.
    """
    return now - used_at > REUSE_GRACE or is_child_unused is False


def device_name(user_agent: str) -> str:
    """Return the printable part of a User-Agent header, shortened."""
    return "".join(character for character in user_agent if character.isprintable())[:DEVICE_NAME_LENGTH] or "unknown"


def network_of(host: str) -> str | None:
    """Return the network of an IP address, an IPv4 /24 or an IPv6 /64; None for a host that is no IP address."""
    try:
        address = ip_address(host)
    except ValueError:
        return None
    return str(ip_network((address, 24 if address.version == 4 else 64), strict=False))  # noqa: PLR2004


def password_weakness(password: str, email: str, common_passwords: AbstractSet[str]) -> str | None:
    """Return why a password is among the first that are guessed, to follow a field's name; None for a good password.

    It is weak when it is a common password, consists of the school's words or is the person's own e-mail address.
    Case and up to five digits and symbols at the end make no difference.
    """
    folded, address = password.casefold().strip(), email.casefold().strip()
    forms = {folded, UP_TO_FIVE_SYMBOLS.sub("", folded)}
    if address and forms & {address, address.partition("@")[0]}:
        return "is your e-mail address or its first part: choose a few words that nobody links to you"
    if not folded or forms & common_passwords or SCHOOL_WORDS.fullmatch(folded):
        return "is among the first that are guessed: choose a few words that do not belong together"
    return None
