"""Reads the catalogue, and what a visitor has completed of it."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import cast
from uuid import UUID

import sqlalchemy as sa
from msgspec import Struct
from sqlalchemy.dialects.postgresql import ARRAY

from mambo.comments.models import Comment
from mambo.courses.models import CatalogueRevision, CourseRevision, Difficulty, Lesson, World, in_course_order
from mambo.courses.repository import LESSON_COUNT
from mambo.courses.schemas import LessonFields
from mambo.database.pool import Pool, Read
from mambo.database.statements import Statement, param
from mambo.progress.models import LessonCompletion

BATCH = 50
NEVER = -1  # a revision that the catalogue never has


# A worker keeps many of these rows. They are left out of garbage collection, because they cannot be part of a cycle.
class WorldRow(Struct, frozen=True, gc=False):
    """A course as it is stored, with its revision and its number of lessons."""

    id: UUID
    title: str
    description: str | None
    slug: str
    is_free: bool
    is_published: bool
    image_url: str | None
    thumbnail_url: str | None
    difficulty: Difficulty
    revision: int | None
    lesson_count: int


class LessonRow(LessonFields, gc=False):
    """A lesson as it is stored, without its content."""

    video_url: str | None
    duration_seconds: float | None


USER_ID, WORLD_ID, LESSON_ID = (param(name, sa.Uuid()) for name in ("user_id", "world_id", "lesson_id"))
IDS = param("ids", ARRAY(sa.Uuid()))

REVISION = sa.select(CatalogueRevision.revision).scalar_subquery().label("revision")
NEWEST = Statement(sa.select(REVISION))
COURSE_OF_LESSON = Statement(
    sa.select(REVISION, sa.select(Lesson.world_id).where(Lesson.id == LESSON_ID).scalar_subquery())
)

WITH_REVISION = sa.outerjoin(World, CourseRevision, CourseRevision.world_id == World.id)
REVISIONS = Statement(
    sa.select(World.id, CourseRevision.revision).select_from(WITH_REVISION).order_by(World.order_index, World.id)
)
WORLDS = Statement(
    sa.select(
        *(getattr(World, name) for name in WorldRow.__struct_fields__ if hasattr(World, name)),
        CourseRevision.revision,
        LESSON_COUNT,
    )
    .select_from(WITH_REVISION)
    .where(World.id == sa.any_(IDS))
)
# A row's `xmin` is the transaction that wrote it, and so differs after each change of the row.
LESSON_VERSIONS = Statement(
    sa.select(Lesson.id, sa.literal_column("lesson.xmin::text::bigint"))
    .where(Lesson.world_id == WORLD_ID)
    .order_by(*in_course_order())
)
LESSONS = Statement(
    sa.select(*(getattr(Lesson, name) for name in LessonRow.__struct_fields__), Lesson.content_json).where(
        Lesson.id == sa.any_(IDS)
    )
)


class CatalogueRepository:
    """Reads the catalogue for a worker's memory."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def get_revision(self) -> int | None:
        """Return a number that differs after each change of the catalogue; None before the first."""
        return cast("int | None", (await self._pool.fetch_one(NEWEST))["revision"])

    async def get_course_of(self, lesson_id: UUID) -> tuple[int | None, UUID | None]:
        """Return the catalogue's revision and the id of the lesson's course; None if there is no such lesson."""
        return cast("tuple[int | None, UUID | None]", await self._pool.fetch_one(COURSE_OF_LESSON, lesson_id=lesson_id))

    @asynccontextmanager
    async def snapshot(self) -> AsyncIterator["CatalogueReader"]:
        """Open a reader that sees the database as it is at one moment."""
        async with self._pool.snapshot() as read:
            yield CatalogueReader(read)


class CatalogueReader:
    """Reads the catalogue as it is at one moment. Long reads come in batches, so that other requests run in between."""

    def __init__(self, read: Read) -> None:
        self._read = read

    async def get_revision(self) -> int | None:
        [row] = await self._read(NEWEST)
        return cast("int | None", row["revision"])

    async def get_revisions(self) -> dict[UUID, int | None]:
        """Return the revision of each course, drafts too, in the order of courses; None if it has never changed."""
        return dict(await self._read(REVISIONS))

    async def get_worlds(self, ids: Sequence[UUID]) -> AsyncIterator[WorldRow]:
        for start in range(0, len(ids), BATCH):
            for row in await self._read(WORLDS, ids=ids[start : start + BATCH]):
                yield WorldRow(**dict(row) | {"difficulty": Difficulty(row["difficulty"])})

    async def get_lesson_versions(self, world_id: UUID) -> dict[UUID, int]:
        """Return the lessons of a course in order, each with a number that differs after each change of it."""
        return dict(await self._read(LESSON_VERSIONS, world_id=world_id))

    async def get_lessons(self, ids: Sequence[UUID]) -> AsyncIterator[tuple[LessonRow, str | None]]:
        """Yield lessons, each with its content as JSON, in no order."""
        level_ids: dict[UUID, UUID] = {}  # one object for each level, because garbage collection visits every UUID
        for start in range(0, len(ids), BATCH):
            for id_, level_id, *fields, content in await self._read(LESSONS, ids=ids[start : start + BATCH]):
                yield LessonRow(id_, level_ids.setdefault(level_id, level_id), *fields), content


COUNTS = (
    sa.select(LessonCompletion.world_id, sa.func.count().label("completed"))
    .where(LessonCompletion.user_id == USER_ID)
    .group_by(LessonCompletion.world_id)
    .subquery()
)
ONE_ROW = sa.select(REVISION).subquery()
COMPLETED_COUNTS = Statement(
    sa.select(ONE_ROW.c.revision, COUNTS.c.world_id, COUNTS.c.completed).join_from(
        ONE_ROW, COUNTS, sa.true(), isouter=True
    )
)
COMPLETED_LESSONS = Statement(
    sa.select(
        REVISION,
        sa.select(sa.func.array_agg(LessonCompletion.lesson_id))
        .where(LessonCompletion.user_id == USER_ID, LessonCompletion.world_id == WORLD_ID)
        .scalar_subquery(),
    )
)
LESSON_STATE = Statement(
    sa.select(
        ONE_ROW.c.revision,
        Lesson.world_id,
        sa.exists().where(
            LessonCompletion.user_id == USER_ID,
            LessonCompletion.world_id == Lesson.world_id,
            LessonCompletion.lesson_id == Lesson.id,
        ),
        sa.exists().where(Comment.lesson_id == LESSON_ID),
    ).join_from(ONE_ROW, Lesson, Lesson.id == LESSON_ID, isouter=True)
)


class LessonState(Struct, frozen=True):
    """Where a lesson is, whether the visitor has completed it, and whether there are comments on it."""

    revision: int | None
    world_id: UUID | None
    is_completed: bool
    has_comments: bool


class VisitorRepository:
    """Reads what a visitor has completed, each time with the catalogue's revision of the same moment."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def get_completed_counts(self, user_id: UUID) -> tuple[int | None, dict[UUID, int]]:
        """Return the revision, and how many lessons the visitor has completed in each course."""
        rows = await self._pool.fetch_all(COMPLETED_COUNTS, user_id=user_id)
        return rows[0]["revision"], {world_id: completed for _, world_id, completed in rows if world_id is not None}

    async def get_completed_lessons(self, user_id: UUID, world_id: UUID) -> tuple[int | None, set[UUID]]:
        """Return the revision, and the lessons of a course that the visitor has completed."""
        revision, ids = await self._pool.fetch_one(COMPLETED_LESSONS, user_id=user_id, world_id=world_id)
        return revision, set(ids or ())

    async def get_lesson_state(self, user_id: UUID, lesson_id: UUID) -> LessonState:
        return LessonState(*await self._pool.fetch_one(LESSON_STATE, user_id=user_id, lesson_id=lesson_id))
