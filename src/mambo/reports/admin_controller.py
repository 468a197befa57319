"""`/api/admin/stats`: statistics for admins."""

from litestar.di import NamedDependency, Provide

from mambo.reports.schemas import Stats
from mambo.reports.service import StatsService, provide_stats_service
from mambo.web.guards import requires_admin
from mambo.web.handlers import fast_get


@fast_get(
    "/api/admin/stats",
    tags=["Admin: people"],
    guards=[requires_admin],
    dependencies={"stats": Provide(provide_stats_service, sync_to_thread=False)},
)
async def get_stats(stats: NamedDependency[StatsService]) -> Stats:
    """The school in numbers."""
    return await stats.get()
