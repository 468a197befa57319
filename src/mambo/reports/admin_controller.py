"""`/api/admin`: deleting courses, and the school in numbers."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from litestar import delete, get
from litestar.di import NamedDependency, Provide
from litestar.params import FromPath, QueryParameter

from mambo.reports.repository import StatsRepository, provide_stats
from mambo.reports.schemas import Stats
from mambo.reports.service import School, provide_school
from mambo.web.guards import requires_admin
from mambo.web.openapi import raises

Force = Annotated[bool, QueryParameter(description="Delete it though learners have progress in it")]


# A function, not a controller's method: Litestar 2.25 cannot take one address from two controllers.
@delete(
    "/api/admin/courses/{course_id:uuid}",
    tags=["Admin: courses"],
    guards=[requires_admin],
    dependencies={"school": Provide(provide_school)},
    responses=raises(404, 409),
)
async def delete_course(
    course_id: FromPath[UUID],
    school: NamedDependency[School],
    force: Force = False,  # noqa: FBT002 - a query parameter
) -> None:
    """Delete a course with its levels and lessons; XP that was paid for them stays."""
    await school.delete_course(course_id, force=force)


@get(
    "/api/admin/stats",
    tags=["Admin: people"],
    guards=[requires_admin],
    dependencies={"stats": Provide(provide_stats)},
)
async def get_stats(stats: NamedDependency[StatsRepository], now: NamedDependency[datetime]) -> Stats:
    """The school in numbers."""
    return await stats.get(now)
