"""Statistics as the API returns them."""

from mambo.web.schemas import Output


class DayCount(Output):
    """A UTC day and the number of lessons that were completed on it."""

    date: str
    completions: int


class RecentActivity(Output):
    """The activity of the last 30 days; days without a completion are left out."""

    active_learners: int
    completions_by_day: list[DayCount]


class Totals(Output):
    """Numbers of accounts and submissions."""

    total_users: int
    total_submissions: int
    pending_submissions: int


class Stats(Totals):
    """The school in numbers; active learners and completions of the last 30 days, up to a minute old."""

    active_learners: int
    completions_by_day: list[DayCount]
