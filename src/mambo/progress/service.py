"""Completes lessons, and reads how far a learner is."""

from datetime import datetime
from uuid import UUID

from litestar.di import NamedDependency

from mambo.access.rules import Access, access_of
from mambo.catalogue.encoding import LessonEntry
from mambo.catalogue.repository import NEVER, VisitorRepository
from mambo.catalogue.snapshot import Catalogue, Course, Snapshot, require_lesson
from mambo.courses.rules import minutes_of
from mambo.database.pool import Pool
from mambo.database.session import Transactions
from mambo.errors import Conflict, Unavailable
from mambo.game.rules import level_of, xp_of_level
from mambo.progress.events import WorldCompleted, WorldCompletedHandlers
from mambo.progress.repository import Attempt, Attempted, CompletionRepository, LearnerProgress, ProgressRepository
from mambo.progress.rules import completed_count, progress_fields, worlds_to_continue
from mambo.progress.schemas import Completion, NextLesson, Progress, WorldProgress, WorldStage
from mambo.web.principal import Principal

ATTEMPTS = 5  # when the course changes, or the learner's time zone, while a completion is being stored


class CompletionService:
    """Stores completions in the transaction of a session, and raises `WorldCompleted` in it.

    The learner's profile has to be locked, so that of the last completions of a world exactly one completes it.
    """

    def __init__(self, completions: CompletionRepository, on_world_completed: WorldCompletedHandlers) -> None:
        self.completions, self.on_world_completed = completions, on_world_completed

    async def complete(self, attempt: Attempt) -> Attempted:
        """Complete a lesson, pay its XP and count the day, if the attempt is based on what the database has now."""
        result = await self.completions.complete(attempt)
        if result.is_new:
            await self._raise_if_complete(attempt.user_id, attempt.world_id, attempt.at)
        return result

    async def complete_boss_battle(self, user_id: UUID, lesson_id: UUID, at: datetime) -> None:
        """Complete a lesson without paying for it, unless it is completed already."""
        world_id = await self.completions.add_once(user_id, lesson_id, at)
        if world_id is not None:
            await self._raise_if_complete(user_id, world_id, at)

    async def _raise_if_complete(self, user_id: UUID, world_id: UUID, at: datetime) -> None:
        if await self.completions.is_world_complete(user_id, world_id):
            for handler in self.on_world_completed:
                await handler(self.completions.session, WorldCompleted(user_id, world_id, at))


class ProgressService:
    """Completes lessons by what the worker has in memory of the course, and reads progress."""

    def __init__(
        self,
        catalogue: Catalogue,
        visitors: VisitorRepository,
        repository: ProgressRepository,
        transactions: Transactions,
        on_world_completed: WorldCompletedHandlers,
    ) -> None:
        self.catalogue, self.visitors, self.repository = catalogue, visitors, repository
        self.transactions, self.on_world_completed = transactions, on_world_completed

    async def complete(self, lesson_id: UUID, learner: Principal, now: datetime) -> Completion:
        """Complete a lesson and pay its XP, once however often and at the same time it is requested.

        The first attempt is based on what this worker has in memory of the course and the learner. If that is outdated,
        nothing is stored, and the next attempt is based on what the database has.

        Raises:
            NotFound, NotAllowed: the learner may not read the lesson.
            Conflict: it is a boss battle, which an approved submission completes; or it has just been deleted.
            Unavailable: the course changes all the time.

        """
        timezone = learner.timezone
        course = self.catalogue.remembered_course_of(lesson_id)
        if course is None or access_of(learner, course.row) is not Access.OPEN:
            course = await self.catalogue.course_of(lesson_id)
        for _ in range(ATTEMPTS):
            course, lesson = require_lesson(course, lesson_id, learner)
            revision = self.catalogue.newest.revision
            attempt = Attempt(
                user_id=learner.user_id,
                world_id=course.row.id,
                lesson_id=lesson_id,
                xp_value=lesson.row.xp_value,
                revision=NEVER if lesson.row.is_boss_battle else revision,
                timezone=timezone,
                at=now,
            )
            result = await self._store(attempt, course)
            if result.revision == revision:
                if result.is_completed:
                    return completion_of(result, course, lesson, now)
                if lesson.row.is_boss_battle:
                    raise Conflict(
                        "A boss battle is completed by an approved submission: send a video of yourself dancing.",
                        code="boss_battle",
                    )
            else:
                course = await self.catalogue.course_of(lesson_id)
            timezone = result.standing.timezone
        raise Unavailable("Someone changes the course at this moment. Try again.")

    async def _store(self, attempt: Attempt, course: Course) -> Attempted:
        """Complete the lesson in one statement; if it completes the course, in a transaction with the event."""
        result = await self.repository.complete(attempt, limit=course.row.lesson_count - 1)
        if not result.is_at_limit:
            return result
        async with self.transactions.begin() as session:
            return await CompletionService(CompletionRepository(session), self.on_world_completed).complete(attempt)

    async def get_progress(self, learner: Principal, now: datetime) -> Progress:
        """Return the learner's totals, progress in each published course, and the lesson to continue with."""
        progress = await self.repository.get_progress(learner.user_id)
        snapshot, standing = await self.catalogue.at(progress.revision), progress.standing
        return Progress(
            xp=standing.xp,
            level=standing.level,
            xp_of_level=xp_of_level(standing.level),
            xp_of_next_level=xp_of_level(standing.level + 1),
            streak_count=standing.streak_at(now),
            lessons_completed=sum(world.lesson_count for world in progress.worlds.values()),
            worlds=[
                WorldStage(
                    **progress_fields(world, completed_count(world.id, progress.worlds)),
                    title=world.title,
                    slug=world.slug,
                    image_url=world.image_url,
                    thumbnail_url=world.thumbnail_url,
                    is_locked=access_of(learner, world) is not Access.OPEN,
                )
                for world in snapshot.published
            ],
            next_lesson=await self._find_next(snapshot, progress, learner),
        )

    async def _find_next(self, snapshot: Snapshot, progress: LearnerProgress, learner: Principal) -> NextLesson | None:
        is_open = [world for world in snapshot.published if access_of(learner, world) is Access.OPEN]
        for world in worlds_to_continue(is_open, progress.worlds):
            course = await self.catalogue.course_at(snapshot.revision, world.id)
            completed = await self._completed_lessons(world.id, progress, learner)
            for lesson in course.lessons if course else ():
                if lesson.row.id not in completed:
                    return NextLesson(
                        lesson_id=lesson.row.id,
                        title=lesson.row.title,
                        world_id=world.id,
                        world_title=world.title,
                        thumbnail_url=lesson.row.thumbnail_url,
                        duration_minutes=minutes_of(lesson.row.duration_minutes, lesson.row.duration_seconds),
                    )
        return None

    async def _completed_lessons(self, world_id: UUID, progress: LearnerProgress, learner: Principal) -> set[UUID]:
        completed = progress.worlds.get(world_id)
        if completed is None:
            return set()
        if completed.lesson_ids is not None:
            return set(completed.lesson_ids)
        _, lesson_ids = await self.visitors.get_completed_lessons(learner.user_id, world_id)
        return lesson_ids


def completion_of(result: Attempted, course: Course, lesson: LessonEntry, now: datetime) -> Completion:
    total = result.standing.xp
    _, next_lesson_id = course.neighbours(lesson)
    return Completion(
        xp_gained=result.paid,
        new_total_xp=total,
        leveled_up=level_of(total) > level_of(total - result.paid),
        new_level=level_of(total),
        newly_completed=result.is_new,
        streak_count=result.standing.streak_at(now),
        next_lesson_id=next_lesson_id,
        quiz_passed=result.has_passed_quiz if lesson.has_quiz else None,
        world=WorldProgress(**progress_fields(course.row, result.completed_count)),
    )


def provide_progress_service(
    catalogue: NamedDependency[Catalogue],
    pool: NamedDependency[Pool],
    transactions: NamedDependency[Transactions],
    on_world_completed: NamedDependency[WorldCompletedHandlers],
) -> ProgressService:
    return ProgressService(
        catalogue, VisitorRepository(pool), ProgressRepository(pool), transactions, on_world_completed
    )
