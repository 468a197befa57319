"""Questions about worlds, levels and lessons."""

from collections.abc import Iterable, Sequence
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from mambo.courses.models import Lesson, Level, World, in_course_order
from mambo.database.repository import Repository

LESSON_COUNT = (
    sa.select(sa.func.count())
    .where(Lesson.world_id == World.id)
    .correlate(World)
    .scalar_subquery()
    .label("lesson_count")
)
NO_VIDEO = {"mux_playback_id": None, "mux_asset_id": None, "duration_seconds": None}


class WorldRepository(Repository[World]):
    """Courses."""

    model_type = World
    label = "course"

    async def get_all_with_count(self) -> Sequence[tuple[World, int]]:
        """All courses in order, drafts too, each with its number of lessons."""
        query = sa.select(World, LESSON_COUNT).order_by(World.order_index, World.id)
        return [(world, count) for world, count in await self.session.execute(query)]

    async def get_with_count(self, world_id: UUID) -> tuple[World, int] | None:
        row = (await self.session.execute(sa.select(World, LESSON_COUNT).where(World.id == world_id))).one_or_none()
        return (row[0], row[1]) if row else None

    async def get_with_levels(self, world_id: UUID) -> tuple[World, int, list[Level]] | None:
        """The course, its number of lessons and its levels in order."""
        query = (
            sa.select(World, LESSON_COUNT, Level)
            .outerjoin(Level, Level.world_id == World.id)
            .where(World.id == world_id)
            .order_by(Level.order_index, Level.id)
        )
        rows = (await self.session.execute(query)).all()
        return (rows[0][0], rows[0][1], [level for _, _, level in rows if level]) if rows else None

    async def lock(self, world_id: UUID) -> bool:
        """Let nobody else change the course's structure until this transaction ends; False when it does not exist."""
        query = sa.select(World.id).where(World.id == world_id).with_for_update(key_share=True)
        return await self.session.scalar(query) is not None

    async def lock_that_of(self, part: type[Level | Lesson], part_id: UUID) -> UUID | None:
        """The same for the course of a level or a lesson; None when there is no such part."""
        its_course = sa.select(part.world_id).where(part.id == part_id).scalar_subquery()
        return await self.session.scalar(
            sa.select(World.id).where(World.id == its_course).with_for_update(key_share=True)
        )


class LevelRepository(Repository[Level]):
    """Levels."""

    model_type = Level
    label = "level"

    async def get_of_world(self, world_id: UUID) -> Sequence[Level]:
        query = sa.select(Level).where(Level.world_id == world_id).order_by(Level.order_index, Level.id)
        return (await self.session.scalars(query)).all()


class LessonRepository(Repository[Lesson]):
    """Lessons."""

    model_type = Lesson
    label = "lesson"

    async def get_of_world(self, world_id: UUID) -> Sequence[Lesson]:
        query = sa.select(Lesson).where(Lesson.world_id == world_id).order_by(*in_course_order())
        return (await self.session.scalars(query)).all()

    async def get_with_world(self, lesson_id: UUID) -> tuple[Lesson, World] | tuple[None, None]:
        """The lesson and the course it is part of; nothing and nothing without."""
        query = sa.select(Lesson, World).join(World, World.id == Lesson.world_id).where(Lesson.id == lesson_id)
        row = (await self.session.execute(query)).one_or_none()
        return (row[0], row[1]) if row else (None, None)

    async def set_video(
        self, lesson_id: UUID, playback_id: str | None, asset_id: str | None, seconds: float | None
    ) -> None:
        """Let the lesson play a Mux video; a trigger has the one before deleted."""
        video = {"mux_playback_id": playback_id, "mux_asset_id": asset_id, "duration_seconds": seconds}
        await self.session.execute(sa.update(Lesson).where(Lesson.id == lesson_id).values(video))

    async def clear_video(self, asset_id: str) -> None:
        """No lesson plays this asset any more."""
        query = sa.update(Lesson).where(Lesson.mux_asset_id == asset_id)
        await self.session.execute(query.values(NO_VIDEO))

    async def place(self, world_id: UUID, places: Iterable[dict[str, Any]]) -> int:
        """Move lessons of one course in one statement; returns how many of them there are."""
        columns = ("lesson_id", "level_id", "week_number", "day_number", "order_index")
        rows = sa.values(
            *(sa.column(name, sa.Uuid() if name.endswith("_id") else sa.Integer()) for name in columns), name="place"
        ).data([tuple(place[name] for name in columns) for place in places])
        query = (
            sa.update(Lesson)
            .where(Lesson.id == rows.c.lesson_id, Lesson.world_id == world_id)
            .values({name: sa.cast(rows.c[name], Lesson.__table__.c[name].type) for name in columns[1:]})
            .returning(Lesson.id)
        )
        return len((await self.session.scalars(query)).all())
