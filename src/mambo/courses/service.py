"""Building courses."""

from collections import defaultdict
from typing import Any
from uuid import UUID

import msgspec
from litestar.di import NamedDependency
from msgspec import UNSET, Struct
from sqlalchemy.ext.asyncio import AsyncSession

from mambo.adapters.storage import THUMBNAIL_BYTES, ImageStorage, require_picture
from mambo.courses import rules
from mambo.courses.models import Lesson, Level, World
from mambo.courses.repository import NO_VIDEO, LessonRepository, LevelRepository, WorldRepository
from mambo.courses.schemas import (
    CourseChange,
    CourseCreate,
    CourseDetails,
    CourseOut,
    LessonChange,
    LessonContent,
    LessonCreate,
    LessonOut,
    LessonPlace,
    LevelChange,
    LevelCreate,
    LevelDetails,
)
from mambo.errors import Invalid, NotFound
from mambo.web.schemas import changes, to_json

PICTURES = ("image_url", "thumbnail_url")
URLS = (*PICTURES, "video_url")
FIRST_LEVEL = "Level 1"


class CourseService:
    """Creates, changes and orders courses, levels and lessons.

    What changes the structure of a course locks the course first, so that no two wait for each other in a circle.
    """

    def __init__(self, session: AsyncSession, pictures: ImageStorage | None = None) -> None:
        self.pictures = pictures
        self.worlds = WorldRepository(session)
        self.levels = LevelRepository(session)
        self.lessons = LessonRepository(session)

    async def list_courses(self) -> list[CourseOut]:
        return [to_course(world, count) for world, count in await self.worlds.get_all_with_count()]

    async def create_course(self, data: CourseCreate) -> CourseOut:
        """Make a course.

        Raises:
            Invalid: there is no picture behind a URL of our own storage.
            Conflict: the slug is taken.

        """
        await self._check_pictures(data)
        return to_course(await self.worlds.add(World(**columns(data))), 0)

    async def change_course(self, world_id: UUID, data: CourseChange) -> CourseOut:
        """Change a course.

        Raises:
            NotFound: there is no such course.
            Invalid: there is no picture behind a URL of our own storage.
            Conflict: the slug is taken.

        """
        await self._check_pictures(data)
        await self.worlds.change(world_id, columns(data))
        return to_course(*await self._course(world_id))

    async def get_course(self, world_id: UUID) -> CourseDetails:
        """The course with its levels and lessons, all in order; NotFound without."""
        found = await self.worlds.get_with_levels(world_id)
        if found is None:
            raise NotFound("course")
        world, count, levels = found
        lessons = defaultdict(list)
        for lesson in await self.lessons.get_of_world(world_id):
            lessons[lesson.level_id].append(to_lesson(lesson))
        details = [
            LevelDetails(id=level.id, title=level.title, order_index=level.order_index, lessons=lessons[level.id])
            for level in levels
        ]
        return CourseDetails(**msgspec.structs.asdict(to_course(world, count)), levels=details)

    async def create_level(self, world_id: UUID, data: LevelCreate) -> Level:
        """Add a level to a course; NotFound without the course."""
        if data.world_id not in {UNSET, world_id}:
            raise Invalid.field("world_id", "is not the course in the address")
        await self._lock(world_id)
        return await self.levels.add(Level(world_id=world_id, title=data.title, order_index=data.order_index))

    async def change_level(self, level_id: UUID, data: LevelChange) -> Level:
        """Change a level; NotFound without."""
        await self._lock_that_of(Level, level_id, "level")
        level = await self._level(level_id)
        values = changes(data)
        if values.pop("world_id", level.world_id) != level.world_id:
            raise Invalid.field("world_id", "cannot change: a level stays in its course")
        for name, value in values.items():
            setattr(level, name, value)
        return level

    async def delete_level(self, level_id: UUID) -> None:
        """Delete a level with its lessons; NotFound without."""
        await self._lock_that_of(Level, level_id, "level")
        await self.levels.remove(level_id)

    async def create_lesson(self, world_id: UUID, data: LessonCreate) -> LessonOut:
        """Add a lesson to a course, in its first level when none is named; NotFound without the course."""
        await self._check_pictures(data)
        return await self._create_lesson(world_id, data)

    async def _create_lesson(self, world_id: UUID, data: LessonCreate) -> LessonOut:
        await self._lock(world_id)
        values = columns(data)
        if values["level_id"] is None:
            values["level_id"] = await self._first_level(world_id)
        return to_lesson(await self.lessons.add(Lesson(world_id=world_id, **values)))

    async def create_lesson_in_level(self, level_id: UUID, data: LessonCreate) -> LessonOut:
        """Add a lesson to a level; NotFound without."""
        if data.level_id not in {None, level_id}:
            raise Invalid.field("level_id", "is not the level in the address")
        await self._check_pictures(data)
        world_id = await self._lock_that_of(Level, level_id, "level")
        data.level_id = level_id
        return await self._create_lesson(world_id, data)

    async def change_lesson(self, lesson_id: UUID, data: LessonChange) -> LessonOut:
        """Change a lesson; NotFound without."""
        await self._check_pictures(data)
        await self._lock_that_of(Lesson, lesson_id, "lesson")
        lesson = await self._lesson(lesson_id)
        values = columns(data)
        if values.pop("delete_video"):
            values |= {"video_url": None} | NO_VIDEO
        for name, value in values.items():
            setattr(lesson, name, value)
        await self.lessons.session.flush()
        return to_lesson(lesson)

    async def get_lesson(self, lesson_id: UUID) -> LessonOut:
        """The lesson, whole; NotFound without."""
        return to_lesson(await self._lesson(lesson_id))

    async def delete_lesson(self, lesson_id: UUID) -> None:
        """Delete a lesson; NotFound without."""
        await self._lock_that_of(Lesson, lesson_id, "lesson")
        await self.lessons.remove(lesson_id)

    async def reorder(self, world_id: UUID, places: list[LessonPlace]) -> CourseDetails:
        """Move lessons, all or none.

        Raises:
            Invalid: a lesson is named twice, or it or its level is not part of the course.
            NotFound: there is no such course.

        """
        await self._lock(world_id)
        if len({place.lesson_id for place in places}) < len(places):
            raise Invalid.field("lesson_id", "stands twice in the list: name each lesson once", "not_unique")
        levels = {level.id for level in await self.levels.get_of_world(world_id)}
        if strangers := [str(place.level_id) for place in places if place.level_id not in levels]:
            raise Invalid.field("level_id", f"is not a level of this course: {strangers[0]}")
        if places and await self.lessons.place(world_id, [changes(place) for place in places]) < len(places):
            raise Invalid.field("lesson_id", "is not a lesson of this course: nothing was moved")
        return await self.get_course(world_id)

    async def _check_pictures(self, data: Struct) -> None:
        """Look at pictures in our own storage before anything is locked."""
        for field in PICTURES:
            if url := getattr(data, field, None):
                await require_picture(self.pictures, field, url, folder="thumbnails", max_bytes=THUMBNAIL_BYTES)

    async def _course(self, world_id: UUID) -> tuple[World, int]:
        found = await self.worlds.get_with_count(world_id)
        if found is None:
            raise NotFound("course")
        return found

    async def _lock(self, world_id: UUID) -> None:
        if not await self.worlds.lock(world_id):
            raise NotFound("course")

    async def _lock_that_of(self, part: type[Level | Lesson], part_id: UUID, name: str) -> UUID:
        world_id = await self.worlds.lock_that_of(part, part_id)
        if world_id is None:
            raise NotFound(name)
        return world_id

    async def _level(self, level_id: UUID) -> Level:
        level = await self.levels.get_one_or_none(id=level_id)
        if level is None:
            raise NotFound("level")
        return level

    async def _lesson(self, lesson_id: UUID) -> Lesson:
        lesson = await self.lessons.get_one_or_none(id=lesson_id)
        if lesson is None:
            raise NotFound("lesson")
        return lesson

    async def _first_level(self, world_id: UUID) -> UUID:
        levels = await self.levels.get_of_world(world_id)
        level = (
            levels[0] if levels else await self.levels.add(Level(world_id=world_id, title=FIRST_LEVEL, order_index=0))
        )
        return level.id


def columns(data: Struct) -> dict[str, Any]:
    """What was sent, as column values; Mux's ids are left out, for its webhook alone sets them."""
    values = {name: value for name, value in changes(data).items() if not name.startswith("mux_")}
    for name in URLS:
        if name in values:
            values[name] = values[name] or None
    if content := values.get("content_json"):
        rules.check_content(content)
        values["content_json"] = to_json(content)
    return values


def to_course(world: World, lesson_count: int) -> CourseOut:
    fields = {name: getattr(world, name) for name in CourseChange.__struct_fields__}
    return CourseOut(id=world.id, lesson_count=lesson_count, **fields)


def to_lesson(lesson: Lesson) -> LessonOut:
    fields = {name: getattr(lesson, name) for name in LessonOut.__struct_fields__}
    content = fields["content_json"]
    return LessonOut(
        **fields
        | {
            "video_url": lesson.video_url or "",
            "duration_minutes": rules.minutes_of(lesson.duration_minutes, lesson.duration_seconds),
            "content_json": None if content is None else msgspec.convert(content, LessonContent),
        }
    )


async def provide_course_service(
    session: NamedDependency[AsyncSession], image_storage: NamedDependency[ImageStorage | None]
) -> CourseService:
    return CourseService(session, image_storage)
