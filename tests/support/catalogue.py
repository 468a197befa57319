"""A course, its pages, and what readers see of them."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import httpx
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession

from factories import Caller, School
from mambo.courses.models import CatalogueRevision, CourseRevision, Lesson, Level, World

WORLDS = "/api/courses/worlds"
PAID = {"video_url": "https://v.example/1", "mux_playback_id": "worth-paying-for"}
REVISION = sa.select(CatalogueRevision.revision)
# Long enough for a request that does not wait for a lock to be answered.
A_WHILE = sa.select(sa.func.pg_sleep(0.2))


class Course(NamedTuple):
    """Three lessons in one level, and one lesson in another level."""

    world: World
    level: Level
    lessons: list[Lesson]

    @property
    def pages(self) -> list[str]:
        return [WORLDS, lessons_path(self.world), lesson_path(self.lessons[0])]


async def add_course(school: School, **world: Any) -> Course:
    row = await school.world(lessons=3, **world)
    level = await school.level(row, order_index=1)
    await school.lesson(level)
    return Course(row, level, await school.lessons_of(row))


def lessons_path(world: World) -> str:
    return f"{WORLDS}/{world.id}/lessons"


def lesson_path(lesson: Lesson) -> str:
    return f"/api/courses/lessons/{lesson.id}"


async def complete(learner: Caller, lesson: Lesson) -> httpx.Response:
    return await learner.post(f"{lesson_path(lesson)}/complete")


async def get_tags(reader: Caller | httpx.AsyncClient, pages: Sequence[str]) -> list[tuple[int, str | None]]:
    """Return the status and the entity tag of each page; a tag stands for a body."""
    responses = [await reader.get(page) for page in pages]
    return [(response.status_code, response.headers.get("etag")) for response in responses]


async def update_world(school: School, world: World, **values: Any) -> None:
    """Change a course in the database, as another worker does."""
    async with school.sessions.begin() as session:
        await session.execute(sa.update(World).where(World.id == world.id).values(values))


async def update_lesson(school: School, lesson: Lesson, **values: Any) -> None:
    """Change a lesson in the database, as another worker does."""
    async with school.sessions.begin() as session:
        await session.execute(sa.update(Lesson).where(Lesson.id == lesson.id).values(values))


async def lock_table(session: AsyncSession, table: str) -> None:
    """Let nobody read the table until the transaction ends."""
    await session.execute(sa.text(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE"))


async def get_course_revision(school: School, world: World) -> int | None:
    revision: int | None = await school.scalar(
        sa.select(CourseRevision.revision).where(CourseRevision.world_id == world.id)
    )
    return revision
