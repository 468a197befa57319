"""Reading courses as a learner, completing lessons, and how far a learner is."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, cast
from uuid import UUID

from litestar import Request
from litestar.datastructures import State
from litestar.di import NamedDependency
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker

from mambo.comments.schemas import CommentView
from mambo.comments.service import Discussion
from mambo.courses import rules
from mambo.courses.rules import Access, access_of
from mambo.errors import Conflict, NotFound, Unavailable
from mambo.game.rules import level_of, xp_of_level
from mambo.guards import Principal
from mambo.learning.catalogue import Catalogue, LessonEntry, Snapshot, WorldEntry, percentage_of, reader_of
from mambo.learning.repository import NEVER, CatalogueRepository, Completed, ProgressRepository, Stage
from mambo.learning.schemas import Completion, NextLesson, Progress, WorldProgress, WorldStage
from mambo.tagged import Tagged

ATTEMPTS = 5  # should a course change meanwhile, or the learner move to another time zone


class Reading:
    """Courses as one visitor sees them: what is the same for all from memory, what is their own from the database."""

    def __init__(self, state: State, visitor: Principal | None, now: datetime) -> None:
        self.catalogue: Catalogue = state.catalogue
        self.progress = ProgressRepository(state.pool)
        self.sessions: async_sessionmaker[AsyncSession] = state.sessions
        self.visitor, self.now = visitor, now

    async def get_worlds(self) -> Tagged:
        """The published courses in order, as a list of `WorldView`."""
        if self.visitor is None:
            return (await self.catalogue.current()).for_anyone
        revision, completed = await self.progress.get_counts(self.visitor.user_id)
        return (await self.catalogue.at(revision)).worlds_for(self.visitor, completed)

    async def get_world_lessons(self, world_id: UUID) -> Tagged:
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

    async def get_lesson(self, lesson_id: UUID, learner: Principal) -> Tagged:
        """A lesson as a `LessonDetail`; NotFound or NotAllowed when the learner may not read it."""
        revision, is_completed, has_comments = await self.progress.get_lesson_state(learner.user_id, lesson_id)
        lesson, world = self._open(await self.catalogue.at(revision), lesson_id, learner)
        comments: list[CommentView] = []
        if has_comments:
            async with self.sessions() as session:
                comments = await Discussion(session, self.now).get_newest(lesson_id, learner)
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
        rules.require_open(found[1].access_of(learner) if found else Access.HIDDEN)
        return cast("tuple[LessonEntry, WorldEntry]", found)


class Learning:
    """How far a learner is."""

    def __init__(self, session: AsyncSession, now: datetime) -> None:
        self.catalogue = CatalogueRepository(session)
        self.now = now

    async def get_progress(self, learner: Principal) -> Progress:
        """The learner's totals, progress in each published world, and the lesson to go on with."""
        standing, completed = await self.catalogue.get_totals(learner.user_id)
        stages = await self.catalogue.get_stages(learner.user_id)
        return Progress(
            xp=standing.xp,
            level=standing.level,
            xp_of_level=xp_of_level(standing.level),
            xp_of_next_level=xp_of_level(standing.level + 1),
            streak_count=standing.streak_at(self.now),
            lessons_completed=completed,
            worlds=[to_stage(stage, learner) for stage in stages],
            next_lesson=next_of([stage for stage in stages if access_of(learner, stage.world) is Access.OPEN]),
        )


def progress(world_id: UUID, lesson_count: int, completed: int) -> dict[str, Any]:
    """The fields of a `WorldProgress`."""
    completed = min(completed, lesson_count)  # what is counted a moment apart from the lessons is never more than all
    return {
        "id": world_id,
        "lesson_count": lesson_count,
        "completed_count": completed,
        "progress_percentage": percentage_of(completed, lesson_count),
        "is_complete": 0 < lesson_count == completed,
    }


def to_stage(stage: Stage, learner: Principal) -> WorldStage:
    world = stage.world
    return WorldStage(
        **progress(world.id, stage.lesson_count, stage.completed_count),
        title=world.title,
        slug=world.slug,
        image_url=world.image_url,
        thumbnail_url=world.thumbnail_url,
        is_locked=access_of(learner, world) is not Access.OPEN,
    )


def next_of(stages: Sequence[Stage]) -> NextLesson | None:
    """The lesson to go on with: in the world where one was completed last, or in the first that is not complete."""
    latest = max((stage.last_completed_at for stage in stages if stage.last_completed_at), default=None)
    for stage in sorted(stages, key=lambda stage: stage.last_completed_at != latest):
        if lesson := stage.next_lesson:
            return NextLesson(
                lesson_id=lesson.id,
                title=lesson.title,
                world_id=stage.world.id,
                world_title=stage.world.title,
                thumbnail_url=lesson.thumbnail_url,
                duration_minutes=rules.minutes_of(lesson.duration_minutes, lesson.duration_seconds),
            )
    return None


async def provide_reading(request: Request[Any, Any, Any]) -> Reading:
    state = request.app.state  # Litestar would copy it to hand it over
    return Reading(state, request.scope.get("user"), state.clock())


async def provide_learning(session: NamedDependency[AsyncSession], now: NamedDependency[datetime]) -> Learning:
    return Learning(session, now)
