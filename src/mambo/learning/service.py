"""Reading courses as a learner, and completing lessons."""

from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
from litestar.di import NamedDependency
from sqlalchemy.ext.asyncio import AsyncSession

from mambo.courses import rules
from mambo.courses.models import Lesson, World
from mambo.courses.rules import Access, access_of
from mambo.courses.schemas import LessonContent
from mambo.errors import Conflict, NotFound
from mambo.game.models import XpKind
from mambo.game.repository import ActivityRepository, LedgerRepository
from mambo.game.rules import level_of
from mambo.guards import Principal
from mambo.learning.repository import CatalogueRepository
from mambo.learning.schemas import Completion, LessonDetail, LessonView, WorldView

FROM_ROW = tuple(
    name
    for name in LessonView.__struct_fields__
    if name not in {"is_completed", "is_locked", "duration_minutes", "video_url", "content_json"}
)


class Learning:
    """Courses as one visitor sees them, and what happens when a learner completes a lesson."""

    def __init__(self, session: AsyncSession, now: datetime) -> None:
        self.catalogue = CatalogueRepository(session)
        self.ledger = LedgerRepository(session)
        self.activity = ActivityRepository(session)
        self.now = now

    async def get_worlds(self, visitor: Principal | None) -> list[WorldView]:
        rows = await self.catalogue.get_worlds(visitor.user_id if visitor else None)
        return [to_world(world, visitor, lesson_count, completed) for world, lesson_count, completed in rows]

    async def get_world_lessons(self, world_id: UUID, visitor: Principal | None) -> list[LessonView]:
        """The lessons of a world in order; NotFound when it does not exist for the visitor."""
        rows = await self.catalogue.get_world_lessons(world_id, visitor.user_id if visitor else None)
        access = access_of(visitor, rows[0][0]) if rows else Access.HIDDEN
        if access is Access.HIDDEN:
            raise NotFound("course")
        return [
            LessonView(**visible(lesson, visitor, access, is_completed=is_completed))
            for _, lesson, is_completed in rows
            if lesson is not None  # the outer join's row of a world without lessons
        ]

    async def get_lesson(self, lesson_id: UUID, learner: Principal) -> LessonDetail:
        """The lesson with its neighbours; NotFound or NotAllowed when the learner may not read it."""
        row = await self._open_lesson(lesson_id, learner)
        return LessonDetail(
            **visible(row.Lesson, learner, Access.OPEN, is_completed=row.is_completed),
            world_id=row.Lesson.world_id,
            next_lesson_id=row.next_lesson_id,
            prev_lesson_id=row.prev_lesson_id,
        )

    async def complete(self, lesson_id: UUID, learner: Principal) -> Completion:
        """Complete a lesson and pay its XP, once however often and at once it is asked.

        Raises:
            NotFound, NotAllowed: the learner may not read the lesson.
            Conflict: it is a boss battle, which an approved submission completes.

        """
        row = await self._open_lesson(lesson_id, learner)
        if row.Lesson.is_boss_battle and not row.is_completed:
            raise Conflict(
                "A boss battle is completed by an approved submission: send a video of yourself dancing.",
                code="boss_battle",
            )
        paid = 0
        newly_completed = await self.catalogue.complete(learner.user_id, lesson_id, self.now)
        if newly_completed:
            amount = row.Lesson.xp_value
            if await self.ledger.pay(learner.user_id, XpKind.LESSON, lesson_id, amount, self.now):
                paid = amount
            await self.activity.record(learner.user_id, self.now)
        standing = await self.ledger.get_standing(learner.user_id)
        return Completion(
            xp_gained=paid,
            new_total_xp=standing.xp,
            leveled_up=standing.level > level_of(standing.xp - paid),
            new_level=standing.level,
            newly_completed=newly_completed,
            streak_count=standing.streak_at(self.now),
            next_lesson_id=row.next_lesson_id,
        )

    async def _open_lesson(self, lesson_id: UUID, learner: Principal) -> Any:  # noqa: ANN401 - a row
        row = await self.catalogue.get_lesson(lesson_id, learner.user_id)
        rules.require_open(access_of(learner, row.World if row else None))
        return row


def to_world(world: World, visitor: Principal | None, lesson_count: int, completed: int) -> WorldView:
    return WorldView(
        id=world.id,
        title=world.title,
        description=world.description,
        slug=world.slug,
        image_url=world.image_url,
        thumbnail_url=world.thumbnail_url,
        difficulty=world.difficulty,
        is_free=world.is_free,
        lesson_count=lesson_count,
        progress_percentage=round(100 * completed / lesson_count, 1) if lesson_count else 0.0,
        is_locked=access_of(visitor, world) is not Access.OPEN,
    )


def visible(lesson: Lesson, visitor: Principal | None, access: Access, *, is_completed: bool) -> dict[str, Any]:
    """The fields of a `LessonView`: nothing worth paying for when locked, no quiz answers but for staff."""
    fields = {name: getattr(lesson, name) for name in FROM_ROW}
    content = None
    if access is Access.OPEN and lesson.content_json is not None:
        content = msgspec.convert(lesson.content_json, LessonContent)
        content = content if visitor is not None and visitor.is_staff else rules.without_answers(content)
    if access is not Access.OPEN:
        fields |= {"mux_playback_id": None, "mux_asset_id": None}
    return fields | {
        "is_completed": is_completed,
        "is_locked": access is not Access.OPEN,
        "duration_minutes": rules.minutes_of(lesson.duration_minutes, lesson.duration_seconds),
        "video_url": (lesson.video_url or "") if access is Access.OPEN else "",
        "content_json": content,
    }


async def provide_learning(session: NamedDependency[AsyncSession], now: NamedDependency[datetime]) -> Learning:
    return Learning(session, now)
