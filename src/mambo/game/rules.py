"""The rules of the game as pure functions."""

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from functools import cache
from math import isqrt
from typing import NamedTuple
from zoneinfo import ZoneInfo, available_timezones

VERSION = 1  # of the published rules; a test fails if they change without it
XP_PER_LEVEL_SQUARED = 100
QUIZ_XP = 25
QUIZ_PASS_PERCENT = 80
QUIZ_ATTEMPTS_PER_HOUR = 10
STREAK_DAYS_SHOWN = 30
TIMEZONE_CHANGE_EVERY = timedelta(hours=24)
DAY = timedelta(days=1)


def level_of(xp: int) -> int:
    """Return the level of a total of XP: max(1, floor(sqrt(xp / 100)))."""
    return max(1, isqrt(max(xp, 0) // XP_PER_LEVEL_SQUARED))


def xp_of_level(level: int) -> int:
    """Return the XP at which a level begins; 0 for the first level."""
    return XP_PER_LEVEL_SQUARED * level * level if level > 1 else 0


def week_of(at: datetime) -> date:
    """Return the Monday of an instant's week, which begins at 00:00 UTC."""
    day = at.astimezone(UTC).date()
    return day - day.weekday() * DAY


def local_date(at: datetime, timezone: str) -> date:
    """Return the date at an instant in a time zone, an IANA name."""
    return at.astimezone(ZoneInfo(timezone)).date()


def current_streak(first_day: date | None, last_day: date | None, today: date) -> int:
    """Return the length of the newest run of active days, in days; 0 when it ended before yesterday."""
    if first_day is None or last_day is None or last_day < today - DAY:
        return 0
    return (last_day - first_day).days + 1


class Streak(NamedTuple):
    """The current and the longest streak, both in days, and the days to show, in order."""

    current: int
    longest: int
    is_today_done: bool
    days: Sequence[date]


def streak_of(runs: Sequence[tuple[date, date]], today: date) -> Streak:
    """Return the streak of a learner with these runs of active days, each a first and a last day, in order.

    A learner who has crossed the date line may have an active day after today: then today is done, and the days to show
    end with that day.
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
    """Return the first of the days that a streak shows if the last of them is today."""
    return today - (STREAK_DAYS_SHOWN - 1) * DAY


def run_with(first_day: date | None, last_day: date | None, day: date) -> tuple[date, date]:
    """Return the newest run after `day` has become active; a day before its last changes nothing."""
    if first_day is None or last_day is None or day > last_day + DAY:
        return day, day
    return first_day, max(day, last_day)


def may_change_timezone(changed_at: datetime | None, now: datetime) -> bool:
    """Return whether a learner may change their time zone: once in 24 hours."""
    return changed_at is None or now - changed_at >= TIMEZONE_CHANGE_EVERY


def is_timezone(name: str) -> bool:
    """Return whether `name` is a time zone of the IANA database."""
    return name in known_timezones()


@cache
def known_timezones() -> set[str]:
    return available_timezones() - {"localtime", "Factory"}  # names of no time zone
