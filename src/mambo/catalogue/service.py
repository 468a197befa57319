"""Courses and lessons as one visitor sees them."""

from uuid import UUID

from litestar.di import NamedDependency

from mambo.access.rules import Access, access_of
from mambo.catalogue.repository import VisitorRepository
from mambo.catalogue.snapshot import Catalogue, require_lesson
from mambo.comments.repository import CommentReadRepository
from mambo.database.pool import Pool
from mambo.errors import NotFound
from mambo.web.principal import Principal
from mambo.web.responses import EncodedResponse


class CatalogueService:
    """Courses and lessons from memory, with what the visitor has completed from the database.

    A visitor who is signed in sees every change at once. Anyone else (`visitor` is None) sees it within a second.
    """

    def __init__(self, catalogue: Catalogue, visitors: VisitorRepository, comments: CommentReadRepository) -> None:
        self.catalogue, self.visitors, self.comments = catalogue, visitors, comments

    async def get_worlds(self, visitor: Principal | None) -> EncodedResponse:
        """Return the published courses in order, as an encoded list of `WorldView`."""
        if visitor is None:
            return (await self.catalogue.current()).for_anyone
        revision, completed = await self.visitors.get_completed_counts(visitor.user_id)
        return (await self.catalogue.at(revision)).list_for(visitor, completed)

    async def get_world_lessons(self, world_id: UUID, visitor: Principal | None) -> EncodedResponse:
        """Return the lessons of a course in order, as an encoded list of `LessonView`.

        Raises:
            NotFound: the course does not exist for this visitor.

        """
        if visitor is None:
            course, completed = await self.catalogue.current_course(world_id), set[UUID]()
        else:
            revision, completed = await self.visitors.get_completed_lessons(visitor.user_id, world_id)
            course = await self.catalogue.course_at(revision, world_id)
        if course is None or access_of(visitor, course.row) is Access.HIDDEN:
            raise NotFound("course")
        return course.list_for(visitor, completed)

    async def get_lesson(self, lesson_id: UUID, learner: Principal) -> EncodedResponse:
        """Return a lesson as an encoded `LessonDetail`.

        Raises:
            NotFound: the lesson does not exist for this learner.
            NotAllowed: it is locked.

        """
        state = await self.visitors.get_lesson_state(learner.user_id, lesson_id)
        course = await self.catalogue.course_at(state.revision, state.world_id) if state.world_id else None
        course, lesson = require_lesson(course, lesson_id, learner)
        comments = await self.comments.get_newest(lesson_id, learner) if state.has_comments else []
        return course.detail_for(learner, lesson, comments, is_completed=state.is_completed)


def provide_catalogue_service(catalogue: NamedDependency[Catalogue], pool: NamedDependency[Pool]) -> CatalogueService:
    return CatalogueService(catalogue, VisitorRepository(pool), CommentReadRepository(pool))
