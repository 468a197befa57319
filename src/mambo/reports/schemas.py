"""The school in numbers."""

from mambo.web.schemas import Output


class DayCount(Output):
    """A UTC day and how many lessons were completed on it."""

    date: str
    completions: int


class RecentActivity(Output):
    """What happened in the last 30 days."""

    active_learners: int
    completions_by_day: list[DayCount]


class Stats(Output):
    """The school in numbers; active learners and completions of the last 30 days, up to a minute old."""

    total_users: int
    total_submissions: int
    pending_submissions: int
    active_learners: int
    completions_by_day: list[DayCount]
