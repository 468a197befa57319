"""Authoring: creates, changes, orders and deletes courses, levels and lessons."""

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any
from uuid import UUID

from litestar.di import NamedDependency
from msgspec import UNSET, Struct
from sqlalchemy.ext.asyncio import AsyncSession

from mambo.adapters.storage import ImageStorage
from mambo.courses.models import Lesson, Level, World
from mambo.courses.repository import (
    NO_VIDEO,
    CourseReadRepository,
    LessonRepository,
    LevelRepository,
    WorldRepository,
)
from mambo.courses.rules import check_content
from mambo.courses.schemas import (
    CourseChange,
    CourseCreate,
    CourseDetails,
    CourseOut,
    LessonChange,
    LessonCreate,
    LessonOut,
    LessonPlace,
    LevelChange,
    LevelCreate,
    LevelOut,
)
from mambo.database.repository import SessionReader
from mambo.errors import Conflict, Invalid
from mambo.images.rules import THUMBNAIL_BYTES
from mambo.images.service import require_image
from mambo.web.schemas import as_struct, changes, to_json

ImageCheck = Callable[[str, str], Awaitable[None]]
IMAGES = ("image_url", "thumbnail_url")
URLS = (*IMAGES, "video_url")
FIRST_LEVEL = "Level 1"


class CourseService:
    """Creates, changes, orders and deletes courses, levels and lessons.

    Every change of a course's levels or lessons locks the course first, so that two changes cannot deadlock.
    `courses` reads what is returned, in the same transaction. `check_image` is called with the name of a field and the
    URL in it, and raises `Invalid` if that is not an image.
    """

    def __init__(
        self,
        worlds: WorldRepository,
        levels: LevelRepository,
        lessons: LessonRepository,
        courses: CourseReadRepository,
        check_image: ImageCheck,
    ) -> None:
        self.worlds, self.levels, self.lessons, self.courses = worlds, levels, lessons, courses
        self.check_image = check_image

    async def create_course(self, data: CourseCreate) -> CourseOut:
        """Create a course.

        Raises:
            Invalid: a URL is not that of an image.
            Conflict: another course has the slug.

        """
        await self._check(data)
        world = await self.worlds.add(World(**column_values(data)))
        return await self.courses.get_course(world.id)

    async def change_course(self, world_id: UUID, data: CourseChange) -> CourseOut:
        """Change a course.

        Raises:
            NotFound: there is no such course.
            Invalid: a URL is not that of an image.
            Conflict: another course has the slug.

        """
        await self._check(data)
        await self.worlds.change(world_id, column_values(data))
        return await self.courses.get_course(world_id)

    async def delete_course(self, world_id: UUID, *, force: bool) -> None:
        """Delete a course with its levels and lessons; XP that was paid for them stays.

        Raises:
            NotFound: there is no such course.
            Conflict: learners have progress in it, and `force` is not set.

        """
        if not force and await self.worlds.has_progress(world_id):
            raise Conflict(
                "Learners have progress in this course: unpublish it instead, or delete it with ?force=true.",
                code="course_has_progress",
            )
        await self.worlds.remove(world_id)

    async def create_level(self, world_id: UUID, data: LevelCreate) -> LevelOut:
        """Add a level to a course.

        Raises:
            NotFound: there is no such course.
            Invalid: `data` names another course.

        """
        if data.world_id not in {UNSET, world_id}:
            raise Invalid.field("world_id", "is not the course in the address")
        await self.worlds.lock(world_id)
        level = Level(world_id=world_id, title=data.title, order_index=data.order_index)
        return as_struct(await self.levels.add(level), LevelOut)

    async def change_level(self, level_id: UUID, data: LevelChange) -> LevelOut:
        """Change a level.

        Raises:
            NotFound: there is no such level.
            Invalid: `data` names another course.

        """
        world_id = await self.levels.lock_course(level_id)
        values = changes(data)
        if values.pop("world_id", world_id) != world_id:
            raise Invalid.field("world_id", "cannot change: a level stays in its course")
        await self.levels.change(level_id, values)
        return as_struct(await self.levels.get_required(id=level_id), LevelOut)

    async def delete_level(self, level_id: UUID) -> None:
        """Delete a level with its lessons; XP that was paid for them stays.

        Raises:
            NotFound: there is no such level.

        """
        await self.levels.lock_course(level_id)
        await self.levels.remove(level_id)

    async def create_lesson(self, world_id: UUID, data: LessonCreate) -> LessonOut:
        """Add a lesson to a course. Without `level_id` it is added to the first level, which is created if need be.

        Raises:
            NotFound: there is no such course.
            Invalid: a URL is not that of an image, or the quiz is not valid.
            Conflict: the level is not part of the course.

        """
        await self._check(data)
        await self.worlds.lock(world_id)
        return await self._add_lesson(world_id, data)

    async def create_lesson_in_level(self, level_id: UUID, data: LessonCreate) -> LessonOut:
        """Add a lesson to a level.

        Raises:
            NotFound: there is no such level.
            Invalid: `data` names another level, a URL is not that of an image, or the quiz is not valid.

        """
        if data.level_id not in {None, level_id}:
            raise Invalid.field("level_id", "is not the level in the address")
        await self._check(data)
        data.level_id = level_id
        return await self._add_lesson(await self.levels.lock_course(level_id), data)

    async def change_lesson(self, lesson_id: UUID, data: LessonChange) -> LessonOut:
        """Change a lesson.

        Raises:
            NotFound: there is no such lesson.
            Invalid: a URL is not that of an image, or the quiz is not valid.
            Conflict: the level is not part of the course.

        """
        await self._check(data)
        await self.lessons.lock_course(lesson_id)
        values = column_values(data)
        if values.pop("delete_video"):
            values |= {"video_url": None} | NO_VIDEO
        await self.lessons.change(lesson_id, values)
        return await self.courses.get_lesson(lesson_id)

    async def delete_lesson(self, lesson_id: UUID) -> None:
        """Delete a lesson; XP that was paid for it stays.

        Raises:
            NotFound: there is no such lesson.

        """
        await self.lessons.lock_course(lesson_id)
        await self.lessons.remove(lesson_id)

    async def move_lessons(self, world_id: UUID, places: list[LessonPlace]) -> CourseDetails:
        """Move lessons of a course, all or none, and return the course.

        Raises:
            NotFound: there is no such course.
            Invalid: a lesson is in the list twice, or a lesson or level is not part of the course.

        """
        await self.worlds.lock(world_id)
        if len({place.lesson_id for place in places}) < len(places):
            raise Invalid.field("lesson_id", "is in the list twice: name each lesson once", "not_unique")
        levels = set(await self.levels.get_ids(world_id))
        if foreign := [place.level_id for place in places if place.level_id not in levels]:
            raise Invalid.field("level_id", f"is not a level of this course: {foreign[0]}")
        if places and await self.lessons.move(world_id, [changes(place) for place in places]) < len(places):
            raise Invalid.field("lesson_id", "is not a lesson of this course: nothing was moved")
        return await self.courses.get_details(world_id)

    async def _check(self, data: Struct) -> None:
        """Check the content and the images. This calls the image storage, so it comes before any lock."""
        if content := getattr(data, "content_json", None):
            check_content(content)
        for field in IMAGES:
            if url := getattr(data, field, None):
                await self.check_image(field, url)

    async def _add_lesson(self, world_id: UUID, data: LessonCreate) -> LessonOut:
        values = column_values(data)
        level_id = values.pop("level_id") or await self._get_first_level(world_id)
        lesson = await self.lessons.add(Lesson(world_id=world_id, level_id=level_id, **values))
        return await self.courses.get_lesson(lesson.id)

    async def _get_first_level(self, world_id: UUID) -> UUID:
        """Return the id of the first level of a course, and create the level if the course has none."""
        for level_id in await self.levels.get_ids(world_id):
            return level_id
        return (await self.levels.add(Level(world_id=world_id, title=FIRST_LEVEL, order_index=0))).id


def column_values(data: Struct) -> dict[str, Any]:
    """Return the fields that were sent, as values of columns. The columns that only Mux sets are left out."""
    values = {name: value for name, value in changes(data).items() if name not in NO_VIDEO}
    for name in URLS:
        if name in values:
            values[name] = values[name] or None
    if content := values.get("content_json"):
        values["content_json"] = to_json(content)
    return values


def provide_course_service(
    session: NamedDependency[AsyncSession], image_storage: NamedDependency[ImageStorage | None]
) -> CourseService:
    return CourseService(
        WorldRepository(session),
        LevelRepository(session),
        LessonRepository(session),
        CourseReadRepository(SessionReader(session)),
        partial(require_image, image_storage, folder="thumbnails", max_bytes=THUMBNAIL_BYTES),
    )
