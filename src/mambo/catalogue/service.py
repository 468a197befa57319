"""Courses and lessons as one visitor sees them."""

from datetime import datetime
from typing import Any, cast
from uuid import UUID

from litestar import Request
from litestar.di import NamedDependency

from mambo.access.rules import Access, require_open
from mambo.catalogue.repository import NEVER
from mambo.catalogue.snapshot import Catalogue, LessonEntry, Snapshot, WorldEntry, reader_of
from mambo.comments.repository import CommentReadRepository
from mambo.comments.schemas import CommentView
from mambo.database.pool import Pool
from mambo.errors import Conflict, NotFound, Unavailable
from mambo.game.rules import level_of
from mambo.progress.repository import Completed, ProgressRepository
from mambo.progress.schemas import Completion, WorldProgress
from mambo.progress.service import ATTEMPTS, progress
from mambo.web.principal import Principal
from mambo.web.responses import EncodedResponse


class CatalogueService:
    """Courses as one visitor sees them: what is the same for all from memory, what is their own from the database."""

    def __init__(
        self,
        catalogue: Catalogue,
        progress: ProgressRepository,
        comments: CommentReadRepository,
        visitor: Principal | None,
        now: datetime,
    ) -> None:
        self.catalogue, self.progress, self.comments = catalogue, progress, comments
        self.visitor, self.now = visitor, now

    async def get_worlds(self) -> EncodedResponse:
        """The published courses in order, as a list of `WorldView`."""
        if self.visitor is None:
            return (await self.catalogue.current()).for_anyone
        revision, completed = await self.progress.get_counts(self.visitor.user_id)
        return (await self.catalogue.at(revision)).worlds_for(self.visitor, completed)

    async def get_world_lessons(self, world_id: UUID) -> EncodedResponse:
        """The lessons of a course in order, as a list of `LessonView`; NotFound when it does not exist for them."""
        if self.visitor is None:
            snapshot, completed = await self.catalogue.current(), set[UUID]()
        else:
            revision, completed = await self.progress.get_completed(self.visitor.user_id, world_id)
            snapshot = await self.catalogue.at(revision)
        world = snapshot.worlds.get(world_id)
        access = world.access_of(self.visitor) if world else Access.HIDDEN
        if world is None or access is Access.HIDDEN:
            raise NotFound("course")
        return world.lessons_for(reader_of(self.visitor, access), completed)

    async def get_lesson(self, lesson_id: UUID, learner: Principal) -> EncodedResponse:
        """A lesson as a `LessonDetail`; NotFound or NotAllowed when the learner may not read it."""
        revision, is_completed, has_comments = await self.progress.get_lesson_state(learner.user_id, lesson_id)
        lesson, world = self._open(await self.catalogue.at(revision), lesson_id, learner)
        comments: list[CommentView] = []
        if has_comments:
            comments = await self.comments.get_newest(lesson_id, learner)
        return lesson.detail(reader_of(learner, world.access_of(learner)), comments, is_completed=is_completed)

    async def complete(self, lesson_id: UUID, learner: Principal) -> Completion:
        """Complete a lesson and pay its XP, once however often and at once it is asked.

        What this worker remembers of course and learner is tried first, and then what the database told of them.

        Raises:
            NotFound, NotAllowed: the learner may not read the lesson.
            Conflict: it is a boss battle, which an approved submission completes; or it has just been deleted.
            Unavailable: the course changes all the time.

        """
        snapshot, timezone = self.catalogue.newest, learner.timezone
        known = snapshot.lessons.get(lesson_id)
        if known is None or known[1].access_of(learner) is not Access.OPEN:
            snapshot = await self.catalogue.look()
        for _ in range(ATTEMPTS):
            lesson, world = self._open(snapshot, lesson_id, learner)
            state = await self.progress.complete(
                learner.user_id,
                lesson.row,
                revision=NEVER if lesson.row.is_boss_battle else snapshot.revision,
                timezone=timezone,
                at=self.now,
            )
            if state.revision == snapshot.revision:
                if state.is_completed:
                    return self._completion(state, lesson, world)
                if lesson.row.is_boss_battle:
                    raise Conflict(
                        "A boss battle is completed by an approved submission: send a video of yourself dancing.",
                        code="boss_battle",
                    )
            snapshot, timezone = await self.catalogue.at(state.revision), state.standing.timezone
        raise Unavailable("Someone changes the course at this moment. Try again.")

    def _completion(self, state: Completed, lesson: LessonEntry, world: WorldEntry) -> Completion:
        total = state.standing.xp
        return Completion(
            xp_gained=state.paid,
            new_total_xp=total,
            leveled_up=level_of(total) > level_of(total - state.paid),
            new_level=level_of(total),
            newly_completed=state.is_new,
            streak_count=state.standing.streak_at(self.now),
            next_lesson_id=lesson.next,
            quiz_passed=state.has_passed_quiz if lesson.has_quiz else None,
            world=WorldProgress(**progress(world.row.id, len(world.lessons), state.completed_count)),
        )

    def _open(self, snapshot: Snapshot, lesson_id: UUID, learner: Principal) -> tuple[LessonEntry, WorldEntry]:
        found = snapshot.lessons.get(lesson_id)
        require_open(found[1].access_of(learner) if found else Access.HIDDEN)
        return cast("tuple[LessonEntry, WorldEntry]", found)


def provide_catalogue_service(
    request: Request[Any, Any, Any],
    catalogue: NamedDependency[Catalogue],
    pool: NamedDependency[Pool],
    now: NamedDependency[datetime],
) -> CatalogueService:
    return CatalogueService(
        catalogue, ProgressRepository(pool), CommentReadRepository(pool), request.scope.get("user"), now
    )
