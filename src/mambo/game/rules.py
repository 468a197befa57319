"""The rules of the game as pure functions: values in, values out, the time is an argument."""

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from functools import cache
from math import isqrt
from typing import NamedTuple
from zoneinfo import ZoneInfo, available_timezones

VERSION = 1  # of all that is published; a test holds that it grows with every change
XP_PER_LEVEL_SQUARED = 100
QUIZ_XP = 25
QUIZ_PASS_PERCENT = 80
QUIZ_ATTEMPTS_PER_HOUR = 10
STREAK_DAYS_SHOWN = 30
TIMEZONE_CHANGE_EVERY = timedelta(hours=24)
DAY = timedelta(days=1)


def level_of(xp: int) -> int:
    """The level for a total of XP: max(1, floor(sqrt(xp / 100)))."""
    return max(1, isqrt(max(xp, 0) // XP_PER_LEVEL_SQUARED))


def xp_of_level(level: int) -> int:
    """The XP with which a level begins; the first begins with none."""
    return XP_PER_LEVEL_SQUARED * level * level if level > 1 else 0


def week_of(at: datetime) -> date:
    """The Monday of an instant's week, which begins at 00:00 UTC."""
    day = at.astimezone(UTC).date()
    return day - day.weekday() * DAY


def local_date(at: datetime, timezone: str) -> date:
    """The learner's calendar day at an instant; `timezone` is an IANA name."""
    return at.astimezone(ZoneInfo(timezone)).date()


def current_streak(first_day: date | None, last_day: date | None, today: date) -> int:
    """Days in the newest run of active days, from `first_day` to `last_day`; 0 when it ended before yesterday."""
    if first_day is None or last_day is None or last_day < today - DAY:
        return 0
    return (last_day - first_day).days + 1


class Streak(NamedTuple):
    """How many days in a row a learner was active, now and at best, and the days that are shown, in order."""

    current: int
    longest: int
    is_today_done: bool
    days: Sequence[date]


def streak_of(runs: Sequence[tuple[date, date]], today: date) -> Streak:
    """The streak on a day, of all runs of active days in order, each from its first to its last day.

    The newest day lies after today where the learner came over the date line: then today is done, and the days that
    are shown end with it.
    """
    first_day, last_day = runs[-1] if runs else (None, None)
    end = max(today, last_day or today)
    return Streak(
        current=current_streak(first_day, last_day, today),
        longest=max(((last - first).days + 1 for first, last in runs), default=0),
        is_today_done=last_day is not None and last_day >= today,
        days=[end - back * DAY for back in reversed(range(STREAK_DAYS_SHOWN))],
    )


def first_day_shown(today: date) -> date:
    """Return the first of the days that a streak shows, if the newest of them is today."""
    return today - (STREAK_DAYS_SHOWN - 1) * DAY


def run_with(first_day: date | None, last_day: date | None, day: date) -> tuple[date, date]:
    """The newest run of active days once `day` is one of them; a day before its last changes nothing."""
    if first_day is None or last_day is None or day > last_day + DAY:
        return day, day
    return first_day, max(day, last_day)


def may_change_timezone(changed_at: datetime | None, now: datetime) -> bool:
    """Whether a learner may move to another time zone: once in 24 hours."""
    return changed_at is None or now - changed_at >= TIMEZONE_CHANGE_EVERY


def is_timezone(name: str) -> bool:
    """Whether `name` is a time zone of the IANA database."""
    return name in known_timezones()


@cache
def known_timezones() -> set[str]:
    return available_timezones() - {"localtime", "Factory"}  # the machine's own zone, and the one of no place
