"""The days of a report, as pure functions."""

from datetime import UTC, datetime, timedelta


def day_bounds(now: datetime, days: int) -> tuple[list[datetime], list[datetime]]:
    """Return where each UTC day since `days` days ago begins, and where each ends; the first begins at this time."""
    since = now.astimezone(UTC) - timedelta(days=days)
    midnight = since.replace(hour=0, minute=0, second=0, microsecond=0)
    ends = [midnight + timedelta(days=day + 1) for day in range(days + 1)]
    return [since, *ends[:-1]], ends
