"""The rules of the game as pure functions: values in, values out, the time is an argument."""

from datetime import date, datetime, timedelta
from functools import cache
from math import isqrt
from zoneinfo import ZoneInfo, available_timezones

XP_PER_LEVEL_SQUARED = 100
QUIZ_XP = 25
QUIZ_PASS_PERCENT = 80
TIMEZONE_CHANGE_EVERY = timedelta(hours=24)


def level_of(xp: int) -> int:
    """The level for a total of XP: max(1, floor(sqrt(xp / 100)))."""
    return max(1, isqrt(max(xp, 0) // XP_PER_LEVEL_SQUARED))


def xp_of_level(level: int) -> int:
    """The total of XP at which a level begins: the first at 0."""
    return XP_PER_LEVEL_SQUARED * level * level if level > 1 else 0


def local_date(at: datetime, timezone: str) -> date:
    """The learner's calendar day at an instant; `timezone` is an IANA name."""
    return at.astimezone(ZoneInfo(timezone)).date()


def current_streak(first_day: date | None, last_day: date | None, today: date) -> int:
    """Days in the newest run of active days, from `first_day` to `last_day`; 0 when it ended before yesterday."""
    if first_day is None or last_day is None or last_day < today - timedelta(days=1):
        return 0
    return (last_day - first_day).days + 1


def may_change_timezone(changed_at: datetime | None, now: datetime) -> bool:
    """Whether a learner may move to another time zone: once in 24 hours."""
    return changed_at is None or now - changed_at >= TIMEZONE_CHANGE_EVERY


def is_timezone(name: str) -> bool:
    """Whether `name` is a time zone of the IANA database."""
    return name in known_timezones()


@cache
def known_timezones() -> set[str]:
    return available_timezones() - {"localtime", "Factory"}  # the machine's own zone, and the one of no place
