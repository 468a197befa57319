"""Queries on worlds, levels and lessons."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar, cast
from uuid import UUID

import msgspec
import sqlalchemy as sa
from litestar.di import NamedDependency

from mambo.courses.models import Lesson, Level, World, in_course_order
from mambo.courses.schemas import CourseDetails, CourseOut, LessonContent, LessonOut, LevelDetails, LevelOut
from mambo.database.pool import Pool
from mambo.database.repository import Query, ReadRepository, Repository
from mambo.database.statements import param
from mambo.errors import NotFound
from mambo.progress.models import LessonCompletion
from mambo.submissions.models import Submission

PartT = TypeVar("PartT", Level, Lesson)

NO_VIDEO = {"mux_playback_id": None, "mux_asset_id": None, "duration_seconds": None}
PLACE = ("lesson_id", "level_id", "week_number", "day_number", "order_index")


class CourseRow(CourseOut, kw_only=True):
    """A course with its levels in order, as a JSON list of `LevelOut`."""

    levels: str


# Columns are selected by the names of the fields that the API returns.
LESSON_COUNT = (
    sa.select(sa.func.count())
    .where(Lesson.world_id == World.id)
    .correlate(World)
    .scalar_subquery()
    .label("lesson_count")
)
COURSE_COLUMNS = [
    *(getattr(World, name) for name in CourseOut.__struct_fields__ if name in World.__table__.columns),
    LESSON_COUNT,
]
LESSON_COLUMNS = [
    # The pool returns JSON as text, a session decodes it: so it is selected as text.
    sa.cast(Lesson.content_json, sa.Text).label(name) if name == "content_json" else getattr(Lesson, name)
    for name in LessonOut.__struct_fields__
]
LEVELS = (
    sa.select(*(getattr(Level, name) for name in LevelOut.__struct_fields__))
    .where(Level.world_id == World.id)
    .order_by(Level.order_index, Level.id)
    .correlate(World)
    .lateral("levels")
)
LEVELS_AS_JSON = sa.select(sa.func.coalesce(sa.cast(sa.func.json_agg(LEVELS.table_valued()), sa.Text), "[]"))

WORLD_ID, LESSON_ID = param("world_id", sa.Uuid()), param("lesson_id", sa.Uuid())
COURSES = Query(sa.select(*COURSE_COLUMNS).order_by(World.order_index, World.id), CourseOut)
COURSE = Query(sa.select(*COURSE_COLUMNS).where(World.id == WORLD_ID), CourseOut)
COURSE_WITH_LEVELS = Query(
    sa.select(*COURSE_COLUMNS, LEVELS_AS_JSON.scalar_subquery().label("levels")).where(World.id == WORLD_ID), CourseRow
)
LESSONS = Query(sa.select(*LESSON_COLUMNS).where(Lesson.world_id == WORLD_ID).order_by(*in_course_order()), LessonOut)
LESSON = Query(sa.select(*LESSON_COLUMNS).where(Lesson.id == LESSON_ID), LessonOut)


class CourseReadRepository(ReadRepository):
    """Reads courses and lessons as an admin sees them."""

    label = "course"

    async def list_courses(self) -> list[CourseOut]:
        """Return all courses in order, drafts too."""
        return await self._all(COURSES)

    async def get_course(self, world_id: UUID) -> CourseOut:
        """Return a course.

        Raises:
            NotFound: there is no such course.

        """
        return await self._required(COURSE, world_id=world_id)

    async def get_details(self, world_id: UUID) -> CourseDetails:
        """Return a course with its levels and lessons, all in order.

        Raises:
            NotFound: there is no such course.

        """
        course = await self._required(COURSE_WITH_LEVELS, world_id=world_id)
        lessons = defaultdict(list)
        for row in await self._reader.fetch_all(LESSONS, world_id=world_id):
            lessons[row["level_id"]].append(to_lesson(row))
        levels = msgspec.json.decode(course.levels, type=list[LevelOut])
        return CourseDetails(
            **msgspec.structs.asdict(course)
            | {"levels": [LevelDetails(**msgspec.structs.asdict(level), lessons=lessons[level.id]) for level in levels]}
        )

    async def get_lesson(self, lesson_id: UUID) -> LessonOut:
        """Return a lesson.

        Raises:
            NotFound: there is no such lesson.

        """
        row = await self._reader.fetch_one(LESSON, lesson_id=lesson_id)
        if row is None:
            raise NotFound("lesson")
        return to_lesson(row)


def to_lesson(row: Mapping[str, Any]) -> LessonOut:
    """Return the lesson of a row, whose content is JSON text and was validated before it was stored.

    The content is encoded as it is: to decode and validate it takes longer than everything else in such a request.
    """
    content = None if row["content_json"] is None else msgspec.Raw(row["content_json"].encode())
    return LessonOut(
        **dict(row) | {"video_url": row["video_url"] or "", "content_json": cast("LessonContent | None", content)}
    )


class WorldRepository(Repository[World]):
    """Courses."""

    model_type = World
    label = "course"

    async def lock(self, world_id: UUID) -> None:
        """Lock the course against other changes of its levels and lessons until the transaction ends.

        Raises:
            NotFound: there is no such course.

        """
        query = sa.select(World.id).where(World.id == world_id).with_for_update(key_share=True)
        if await self.session.scalar(query) is None:
            raise NotFound(self.label)

    async def has_progress(self, world_id: UUID) -> bool:
        """Return whether learners have completions or submissions in the course.

        None are added before the transaction ends, because the course and its lessons are locked. The course is locked
        first, as in every other transaction that locks both.
        """
        await self.session.execute(sa.select(World.id).where(World.id == world_id).with_for_update())
        lessons = sa.select(Lesson.id).where(Lesson.world_id == world_id)
        await self.session.execute(lessons.with_for_update())
        progress = sa.or_(
            sa.exists().where(LessonCompletion.lesson_id.in_(lessons)),
            sa.exists().where(Submission.lesson_id.in_(lessons)),
        )
        return bool(await self.session.scalar(sa.select(progress)))


class PartRepository(Repository[PartT]):
    """Parts of courses: levels or lessons."""

    async def lock_course(self, part_id: UUID) -> UUID:
        """Lock the course that a part belongs to, as `WorldRepository.lock` does, and return the id of the course.

        Raises:
            NotFound: there is no such part.

        """
        world_id = sa.select(self.model_type.world_id).where(self.model_type.id == part_id).scalar_subquery()
        query = sa.select(World.id).where(World.id == world_id).with_for_update(key_share=True)
        locked = await self.session.scalar(query)
        if locked is None:
            raise NotFound(self.label)
        return locked


class LevelRepository(PartRepository[Level]):
    """Levels."""

    model_type = Level
    label = "level"

    async def get_ids(self, world_id: UUID) -> list[UUID]:
        """Return the ids of a course's levels, in order."""
        query = sa.select(Level.id).where(Level.world_id == world_id).order_by(Level.order_index, Level.id)
        return list(await self.session.scalars(query))


class LessonRepository(PartRepository[Lesson]):
    """Lessons."""

    model_type = Lesson
    label = "lesson"

    async def get_with_world(self, lesson_id: UUID) -> tuple[Lesson, World] | tuple[None, None]:
        """Return the lesson and its course, or twice None."""
        query = sa.select(Lesson, World).join(World, World.id == Lesson.world_id).where(Lesson.id == lesson_id)
        row = (await self.session.execute(query)).one_or_none()
        return (row[0], row[1]) if row else (None, None)

    async def set_video(
        self, lesson_id: UUID, playback_id: str | None, asset_id: str | None, seconds: float | None
    ) -> None:
        """Set the Mux video of a lesson; a trigger schedules the deletion of the one that it replaces."""
        await self.change(
            lesson_id, {"mux_playback_id": playback_id, "mux_asset_id": asset_id, "duration_seconds": seconds}
        )

    async def clear_video(self, asset_id: str) -> None:
        """Remove a Mux video from the lessons that play it."""
        await self.session.execute(sa.update(Lesson).where(Lesson.mux_asset_id == asset_id).values(NO_VIDEO))

    async def move(self, world_id: UUID, places: Iterable[dict[str, Any]]) -> int:
        """Set the places of lessons of one course in one statement, and return how many lessons these are."""
        columns = [sa.column(name, sa.Uuid() if name.endswith("_id") else sa.Integer()) for name in PLACE]
        rows = sa.values(*columns, name="place").data([tuple(place[name] for name in PLACE) for place in places])
        query = (
            sa.update(Lesson)
            .where(Lesson.id == rows.c.lesson_id, Lesson.world_id == world_id)
            .values({name: sa.cast(rows.c[name], Lesson.__table__.c[name].type) for name in PLACE[1:]})
            .returning(Lesson.id)
        )
        return len((await self.session.scalars(query)).all())


def provide_course_reads(pool: NamedDependency[Pool]) -> CourseReadRepository:
    return CourseReadRepository(pool)
