"""Reading courses as a learner, completing lessons, and how far a learner is."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from litestar.di import NamedDependency
from sqlalchemy.ext.asyncio import AsyncSession

from mambo.access.rules import Access, access_of
from mambo.catalogue.snapshot import percentage_of
from mambo.courses import rules
from mambo.game.rules import xp_of_level
from mambo.progress.repository import CompletionRepository, WorldProgressRow
from mambo.progress.schemas import NextLesson, Progress, WorldStage
from mambo.web.principal import Principal

ATTEMPTS = 5  # should a course change meanwhile, or the learner move to another time zone


class ProgressService:
    """How far a learner is."""

    def __init__(self, session: AsyncSession, now: datetime) -> None:
        self.catalogue = CompletionRepository(session)
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


def to_stage(stage: WorldProgressRow, learner: Principal) -> WorldStage:
    world = stage.world
    return WorldStage(
        **progress(world.id, stage.lesson_count, stage.completed_count),
        title=world.title,
        slug=world.slug,
        image_url=world.image_url,
        thumbnail_url=world.thumbnail_url,
        is_locked=access_of(learner, world) is not Access.OPEN,
    )


def next_of(stages: Sequence[WorldProgressRow]) -> NextLesson | None:
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


async def provide_progress_service(
    session: NamedDependency[AsyncSession], now: NamedDependency[datetime]
) -> ProgressService:
    return ProgressService(session, now)
