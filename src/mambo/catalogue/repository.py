"""Reads the catalogue from the database."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import cast
from uuid import UUID

import sqlalchemy as sa
from msgspec import Struct
from sqlalchemy.dialects.postgresql import ARRAY

from mambo.courses.models import CatalogueRevision, Difficulty, Lesson, World, in_course_order
from mambo.database.pool import Pool, Read
from mambo.database.statements import Statement, param

BATCH = 50
NEVER = -1  # a revision that the catalogue never has


class WorldRow(Struct, frozen=True):
    """A course as it is stored."""

    id: UUID
    title: str
    description: str | None
    slug: str
    is_free: bool
    is_published: bool
    image_url: str | None
    thumbnail_url: str | None
    difficulty: Difficulty


class LessonRow(Struct, frozen=True):
    """A lesson as it is stored; `content_json` is still text."""

    id: UUID
    world_id: UUID
    level_id: UUID
    title: str
    description: str | None
    video_url: str | None
    xp_value: int
    order_index: int
    week_number: int | None
    day_number: int | None
    is_boss_battle: bool
    duration_minutes: int | None
    thumbnail_url: str | None
    content_json: str | None
    mux_playback_id: str | None
    mux_asset_id: str | None
    duration_seconds: float | None


class LessonVersion(Struct, frozen=True):
    """Where a lesson is; `version` is another one after every change of it."""

    id: UUID
    world_id: UUID
    version: int


REVISION = sa.select(CatalogueRevision.revision).scalar_subquery().label("revision")
NEWEST = Statement(sa.select(REVISION))
WORLDS = Statement(
    sa.select(*(getattr(World, name) for name in WorldRow.__struct_fields__)).order_by(World.order_index, World.id)
)
PLACES = Statement(
    sa.select(Lesson.id, Lesson.world_id, sa.literal_column("lesson.xmin::text::bigint").label("version")).order_by(
        *in_course_order()
    )
)
LESSONS = Statement(
    sa.select(*(getattr(Lesson, name) for name in LessonRow.__struct_fields__)).where(
        Lesson.id == sa.any_(param("ids", ARRAY(sa.Uuid())))
    )
)


class CatalogueRepository:
    """What the catalogue in memory is made of."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def get_revision(self) -> int | None:
        """A number that is another one after every change; None before the first."""
        return cast("int | None", (await self._pool.fetch_one(NEWEST))["revision"])

    @asynccontextmanager
    async def snapshot(self) -> AsyncIterator["CatalogueReader"]:
        """All of it as it was at one moment."""
        async with self._pool.snapshot() as read:
            yield CatalogueReader(read)


class CatalogueReader:
    """The catalogue in the database at one moment."""

    def __init__(self, read: Read) -> None:
        self._read = read

    async def get_revision(self) -> int | None:
        [row] = await self._read(NEWEST)
        return cast("int | None", row["revision"])

    async def get_worlds(self) -> list[WorldRow]:
        """All courses in order, drafts too."""
        rows = await self._read(WORLDS)
        return [WorldRow(**dict(row) | {"difficulty": Difficulty(row["difficulty"])}) for row in rows]

    async def get_places(self) -> list[LessonVersion]:
        """Every lesson, in order."""
        return [LessonVersion(*row) for row in await self._read(PLACES)]

    async def get_lessons(self, ids: list[UUID]) -> AsyncIterator[LessonRow]:
        """These lessons, a batch at a time, so that others have their turn."""
        for start in range(0, len(ids), BATCH):
            for row in await self._read(LESSONS, ids=ids[start : start + BATCH]):
                yield LessonRow(*row)
