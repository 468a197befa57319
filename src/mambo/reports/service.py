"""What an admin may do to everyone's progress."""

from uuid import UUID

from litestar.di import NamedDependency
from sqlalchemy.ext.asyncio import AsyncSession

from mambo.errors import Conflict, NotFound
from mambo.reports.repository import ProgressRepository


class School:
    """Courses, with all that learners did in them."""

    def __init__(self, session: AsyncSession) -> None:
        self.progress = ProgressRepository(session)

    async def delete_course(self, world_id: UUID, *, force: bool) -> None:
        """Delete a course with its levels and lessons; XP already paid stays.

        Raises:
            NotFound: there is no such course.
            Conflict: learners have progress in it and `force` is not set.

        """
        if not force and await self.progress.is_anyone_in(world_id):
            raise Conflict(
                "Learners have progress in this course: unpublish it instead, or delete it with ?force=true.",
                code="course_has_progress",
            )
        if not await self.progress.delete_world(world_id):
            raise NotFound("course")


async def provide_school(session: NamedDependency[AsyncSession]) -> School:
    return School(session)
