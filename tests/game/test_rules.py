"""The rules of the game, compared with slow, obvious models."""

from datetime import UTC, date, datetime, timedelta
from math import floor, sqrt
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mambo.game.rules import current_streak, is_timezone, level_of, local_date, may_change_timezone

DAY = timedelta(days=1)
ZONES = ["UTC", "America/New_York", "Pacific/Kiritimati", "Pacific/Pago_Pago", "Australia/Lord_Howe", "Asia/Kathmandu"]


@pytest.mark.parametrize(("xp", "level"), [(0, 1), (99, 1), (399, 1), (400, 2), (899, 2), (900, 3), (10_000, 10)])
def test_levels_at_their_boundaries(xp: int, level: int) -> None:
    assert level_of(xp) == level


@given(st.integers(0, 2**31 - 1))
def test_a_level_equals_the_formula(xp: int) -> None:
    assert level_of(xp) == max(1, floor(sqrt(xp // 100)))


@given(st.sets(st.integers(0, 60), max_size=40), st.integers(0, 62))
def test_a_streak_equals_counting_backwards(days: set[int], today_offset: int) -> None:
    """From today or yesterday back to the first inactive day."""
    start = date(2026, 1, 1)
    today = start + DAY * today_offset
    active = {start + DAY * day for day in days if day <= today_offset}
    expected = 0
    day = today if today in active else today - DAY
    while day in active:
        expected, day = expected + 1, day - DAY
    last = max(active, default=None)
    first = last
    while first is not None and first - DAY in active:
        first -= DAY

    assert current_streak(first, last, today) == expected


@given(st.datetimes(datetime(1990, 1, 1), datetime(2040, 1, 1)), st.sampled_from(ZONES))  # noqa: DTZ001 - made aware below
def test_a_local_date_equals_the_offset_added_to_utc(instant: datetime, zone: str) -> None:
    aware = instant.replace(tzinfo=UTC)
    offset = ZoneInfo(zone).utcoffset(aware.astimezone(ZoneInfo(zone)))
    assert offset is not None

    assert local_date(aware, zone) == (instant + offset).date()


def test_local_dates_across_the_date_line() -> None:
    at = datetime(2026, 3, 2, 10, 30, tzinfo=UTC)

    assert [str(local_date(at, zone)) for zone in ("Pacific/Kiritimati", "UTC", "Pacific/Pago_Pago")] == [
        "2026-03-03",
        "2026-03-02",
        "2026-03-01",
    ]


def test_a_time_zone_may_change_once_in_24_hours() -> None:
    now = datetime(2026, 3, 2, tzinfo=UTC)

    assert may_change_timezone(None, now)
    assert may_change_timezone(now - DAY, now)
    assert not may_change_timezone(now - DAY + timedelta(seconds=1), now)


@pytest.mark.parametrize("name", ["America/New_York", "UTC", "Pacific/Kiritimati"])
def test_iana_names_are_time_zones(name: str) -> None:
    assert is_timezone(name)


@pytest.mark.parametrize("name", ["", "Mars/Olympus", "../etc", "/etc/localtime", "a\x00b", "America"])
def test_other_names_are_no_time_zones(name: str) -> None:
    assert not is_timezone(name)
