"""Every rate limit in one table: how often, in which window, counted per what. The settings read it."""

import enum
import re
from collections.abc import Mapping

from msgspec import Struct

from mambo.game.rules import QUIZ_ATTEMPTS_PER_HOUR

UNITS = {"s": 1, "min": 60, "hour": 3600, "day": 86_400}
RATE = re.compile(rf"(\d{{1,6}})\s*/\s*(\d{{1,4}})?\s*({'|'.join(UNITS)})")
WAITS = (("day", 86_400), ("hour", 3600), ("minute", 60), ("second", 1))
LONGEST_SECONDS = 30 * UNITS["day"]


class Per(enum.Enum):
    """What has a counter of its own."""

    ACCOUNT = "account"  # the e-mail address in the request, whether or not it has an account
    ADDRESS = "address"  # an IPv4 address, or the /64 of an IPv6 one
    SESSION = "session"
    USER = "user"
    ALL = "all"


class Rate(Struct, frozen=True):
    """A limit of `limit` calls in a window of `seconds`, which begins with the first call."""

    limit: int
    seconds: int

    @classmethod
    def parse(cls, text: str) -> "Rate":
        """Parse `10/5min` or `60/hour`.

        Raises:
            ValueError: the text has another form, or a number is out of range.

        """
        found = RATE.fullmatch(text.strip())
        rate = cls(int(found[1]), int(found[2] or 1) * UNITS[found[3]]) if found else cls(0, 0)
        if rate.limit < 1 or not 0 < rate.seconds <= LONGEST_SECONDS:
            raise ValueError(text)
        return rate

    def __str__(self) -> str:
        unit = next(unit for unit in reversed(UNITS) if self.seconds % UNITS[unit] == 0)
        number = self.seconds // UNITS[unit]
        return f"{self.limit}/{'' if number == 1 else number}{unit}"


class Rule(Struct, frozen=True):
    """One limit; `reason` begins the sentence that a client gets beyond it."""

    name: str
    default: Rate
    per: Per
    reason: str

    @property
    def setting(self) -> str:
        """The environment variable that changes the default."""
        return f"LIMIT_{self.name.upper()}"


def rule(name: str, default: str, per: Per, reason: str) -> Rule:
    return Rule(name, Rate.parse(default), per, reason)


# Only failed sign-ins count: see `RateLimiter.attempt`. They are checked in this order, so that one address cannot use
# up the limit of all.
SIGN_IN_ADDRESS = rule("sign_in_address", "30/5min", Per.ADDRESS, "Too many sign-ins from your network failed.")
SIGN_IN_ACCOUNT = rule("sign_in_account", "10/5min", Per.ACCOUNT, "Too many sign-ins to this account failed.")
SIGN_IN_ALL = rule("sign_in_all", "1000/5min", Per.ALL, "Too many sign-ins failed, by anyone.")
REGISTER = rule("register", "60/hour", Per.ADDRESS, "Too many accounts were made from your network.")
REFRESH = rule("refresh", "30/min", Per.SESSION, "This session asks for new tokens too often.")
PASSWORD = rule("password", "10/5min", Per.USER, "You tried to change your password too often.")
FORGOT_ADDRESS = rule("forgot_address", "30/hour", Per.ADDRESS, "Too many new passwords were asked for here.")
FORGOT_ACCOUNT = rule("forgot_account", "5/day", Per.ACCOUNT, "A new password was asked for too often.")
VERIFY_ACCOUNT = rule("verify_account", "5/day", Per.ACCOUNT, "The confirmation mail was asked for too often.")
PRESIGN = rule("presign", "20/hour", Per.USER, "You uploaded many pictures.")
VIDEO_UPLOAD = rule("video_upload", "200/hour", Per.USER, "You uploaded many videos.")
COMMENT = rule("comment", "20/min", Per.USER, "You wrote many comments.")
QUIZ = rule(  # counted per learner and lesson
    "quiz", f"{QUIZ_ATTEMPTS_PER_HOUR}/hour", Per.USER, "You answered this quiz many times."
)
SUBMISSION_UPLOAD = rule("submission_upload", "10/day", Per.USER, "You uploaded many videos of yourself.")

RULES = (
    SIGN_IN_ADDRESS,
    SIGN_IN_ACCOUNT,
    SIGN_IN_ALL,
    REGISTER,
    REFRESH,
    PASSWORD,
    FORGOT_ADDRESS,
    FORGOT_ACCOUNT,
    VERIFY_ACCOUNT,
    PRESIGN,
    VIDEO_UPLOAD,
    COMMENT,
    QUIZ,
    SUBMISSION_UPLOAD,
)


def rates(environ: Mapping[str, str]) -> dict[str, Rate]:
    """Return the rate of every rule by the name of its setting: the environment's, else the default.

    Raises:
        ValueError: a rate cannot be parsed, or no rule has a LIMIT_ variable of this name; the message is a sentence.

    """
    found = {rule.setting: rule.default for rule in RULES}
    for name in environ:
        if not name.startswith("LIMIT_"):
            continue
        if name not in found:
            raise ValueError(f"{name} is not a limit: there are {', '.join(found)}.")
        try:
            found[name] = Rate.parse(environ[name])
        except ValueError:
            raise ValueError(
                f"{name} must be a number and a time of up to 30 days, in {', '.join(UNITS)}: as in 60/hour or 10/5min."
            ) from None
    return found


def in_words(seconds: int) -> str:
    """Return a number of seconds in words, rounded up: 90 is "2 minutes"."""
    name, unit = next((name, unit) for name, unit in WAITS if seconds >= 2 * unit or unit == 1)
    number = -(-seconds // unit)
    return f"{number} {name}{'' if number == 1 else 's'}"
