"""Queries on worlds, levels and lessons."""

from collections.abc import Iterable
from typing import Any, Generic, TypeVar
from uuid import UUID

import msgspec
import sqlalchemy as sa
from litestar.di import NamedDependency
from msgspec import Struct
from sqlalchemy.ext.asyncio import AsyncSession, async_scoped_session

from mambo.courses.models import Lesson, Level, World, in_course_order
from mambo.courses.schemas import CourseDetails, CourseOut, LessonOut, LevelOut
from mambo.database.pool import Pool
from mambo.database.repository import ReadRepository, Repository
from mambo.database.statements import Statement, param
from mambo.errors import NotFound
from mambo.progress.models import LessonCompletion
from mambo.submissions.models import Submission

T = TypeVar("T", bound=Struct)
PartT = TypeVar("PartT", Level, Lesson)
Rows = sa.Select[*tuple[Any, ...]]

NO_VIDEO = {"mux_playback_id": None, "mux_asset_id": None, "duration_seconds": None}
PLACE = ("lesson_id", "level_id", "week_number", "day_number", "order_index")
WORLD_ID, LESSON_ID = param("world_id", sa.Uuid()), param("lesson_id", sa.Uuid())


def json_list(rows: Rows) -> sa.ScalarSelect[Any]:
    """Return the rows of a select, in their order, as a JSON list of objects."""
    source = rows.lateral("source")
    return sa.select(sa.func.coalesce(sa.func.json_agg(source.table_valued()), sa.text("'[]'"))).scalar_subquery()


class JsonQuery(Statement, Generic[T]):
    """A select whose rows PostgreSQL returns as JSON, because they hold lists of rows, and msgspec decodes as structs.

    It is compiled once for the pool, and also runs in the transaction of a session.
    """

    def __init__(self, rows: Rows, kind: type[list[T]]) -> None:
        self._select = sa.select(sa.cast(json_list(rows), sa.Text).label("json"))
        super().__init__(self._select)
        self.decode = msgspec.json.Decoder(kind).decode

    async def run(self, session: AsyncSession | async_scoped_session[AsyncSession], **values: UUID) -> list[T]:
        return self.decode((await session.scalars(self._select, values)).one())


LESSON_COUNT = (
    sa.select(sa.func.count())
    .where(Lesson.world_id == World.id)
    .correlate(World)
    .scalar_subquery()
    .label("lesson_count")
)
# Columns are selected by the names of the fields of the structs that are returned.
COURSE_COLUMNS = [
    *(getattr(World, name) for name in CourseOut.__struct_fields__ if name in World.__table__.columns),
    LESSON_COUNT,
]
LESSON_COLUMNS = [
    sa.func.coalesce(Lesson.video_url, "").label(name) if name == "video_url" else getattr(Lesson, name)
    for name in LessonOut.__struct_fields__
]
LESSONS_OF_LEVEL = (
    sa.select(*LESSON_COLUMNS)
    .where(Lesson.world_id == Level.world_id, Lesson.level_id == Level.id)
    .order_by(*in_course_order())
    .correlate(Level)
)
LEVELS_OF_WORLD = (
    sa.select(
        *(getattr(Level, name) for name in LevelOut.__struct_fields__),
        json_list(LESSONS_OF_LEVEL).label("lessons"),
    )
    .where(Level.world_id == World.id)
    .order_by(Level.order_index, Level.id)
    .correlate(World)
)
COURSES = JsonQuery(sa.select(*COURSE_COLUMNS).order_by(World.order_index, World.id), list[CourseOut])
COURSE = JsonQuery(sa.select(*COURSE_COLUMNS).where(World.id == WORLD_ID), list[CourseOut])
COURSE_DETAILS = JsonQuery(
    sa.select(*COURSE_COLUMNS, json_list(LEVELS_OF_WORLD).label("levels")).where(World.id == WORLD_ID),
    list[CourseDetails],
)
LESSON = JsonQuery(sa.select(*LESSON_COLUMNS).where(Lesson.id == LESSON_ID), list[LessonOut])


class CourseReadRepository(ReadRepository):
    """Reads courses and lessons as an admin sees them."""

    async def list_courses(self) -> list[CourseOut]:
        """Return all courses in order, drafts too."""
        return await self._decode(COURSES)

    async def get_course(self, world_id: UUID) -> CourseDetails:
        """Return a course with its levels and lessons, all in order.

        Raises:
            NotFound: there is no such course.

        """
        return first(await self._decode(COURSE_DETAILS, world_id=world_id), "course")

    async def get_lesson(self, lesson_id: UUID) -> LessonOut:
        """Return a lesson.

        Raises:
            NotFound: there is no such lesson.

        """
        return first(await self._decode(LESSON, lesson_id=lesson_id), "lesson")

    async def _decode(self, query: JsonQuery[T], **values: UUID) -> list[T]:
        return query.decode((await self._pool.fetch_one(query, **values))["json"])


class WorldRepository(Repository[World]):
    """Courses."""

    model_type = World
    label = "course"

    async def get_view(self, world_id: UUID) -> CourseOut:
        """Return the course as an admin sees it.

        Raises:
            NotFound: there is no such course.

        """
        return first(await COURSE.run(self.session, world_id=world_id), self.label)

    async def get_details(self, world_id: UUID) -> CourseDetails:
        """Return the course with its levels and lessons, all in order.

        Raises:
            NotFound: there is no such course.

        """
        return first(await COURSE_DETAILS.run(self.session, world_id=world_id), self.label)

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

    async def get_view(self, lesson_id: UUID) -> LessonOut:
        """Return the lesson as an admin sees it.

        Raises:
            NotFound: there is no such lesson.

        """
        return first(await LESSON.run(self.session, lesson_id=lesson_id), self.label)

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


def first(rows: list[T], label: str) -> T:
    """Return the first row.

    Raises:
        NotFound: there is none.

    """
    if not rows:
        raise NotFound(label)
    return rows[0]


def provide_course_reads(pool: NamedDependency[Pool]) -> CourseReadRepository:
    return CourseReadRepository(pool)
