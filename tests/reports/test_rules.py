"""The days of a report."""

from datetime import UTC, datetime, timedelta, timezone

import pytest

from mambo.reports.rules import day_bounds

NOON = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize("now", [NOON, NOON.astimezone(timezone(timedelta(hours=14)))])
def test_days_are_those_of_utc_and_the_first_begins_at_this_time_of_day(now: datetime) -> None:
    begins, ends = day_bounds(now, 2)

    assert begins == [NOON - timedelta(days=2), datetime(2026, 3, 1, tzinfo=UTC), datetime(2026, 3, 2, tzinfo=UTC)]
    assert ends == [*begins[1:], datetime(2026, 3, 3, tzinfo=UTC)]
