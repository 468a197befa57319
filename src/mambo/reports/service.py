"""Statistics for admins."""

from datetime import datetime

from litestar.di import NamedDependency
from msgspec.structs import asdict

from mambo.adapters.shared_results import SharedResults
from mambo.database.pool import Pool
from mambo.reports.repository import StatsRepository
from mambo.reports.rules import day_bounds
from mambo.reports.schemas import DayCount, RecentActivity, Stats

STATS_DAYS = 30


class StatsService:
    """Counts accounts and submissions on each request, and the activity of all learners once for many requests."""

    def __init__(self, counts: StatsRepository, shared_results: SharedResults, now: datetime) -> None:
        self.counts, self.shared_results, self.now = counts, shared_results, now

    async def get(self) -> Stats:
        """Return the statistics; those of the last 30 days may be a minute old."""
        recent = await self.shared_results.get("stats", RecentActivity, self._count_recent)
        return Stats(**asdict(await self.counts.get_totals()), **asdict(recent))

    async def _count_recent(self) -> RecentActivity:
        begins, ends = day_bounds(self.now, STATS_DAYS)
        days = await self.counts.get_days(begins, ends, since=begins[0].date())
        return RecentActivity(
            active_learners=days[0].active_learners,
            completions_by_day=[
                DayCount(date=day.begin.date().isoformat(), completions=day.completions)
                for day in days
                if day.completions
            ],
        )


def provide_stats_service(
    pool: NamedDependency[Pool], shared_results: NamedDependency[SharedResults], now: NamedDependency[datetime]
) -> StatsService:
    return StatsService(StatsRepository(pool), shared_results, now)
