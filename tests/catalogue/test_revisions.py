"""The revisions of the catalogue and of each course, as triggers write them."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa

from factories import School
from mambo.courses.models import CourseRevision, Lesson, Level, World
from support.catalogue import REVISION, Course, add_course, get_course_revision
from support.locks import wait_for_waiters

CHANGES: dict[str, Callable[[Course], sa.Executable]] = {
    "the course is changed": lambda course: sa.update(World).where(World.id == course.world.id).values(title="New"),
    "a lesson is changed": lambda course: (
        sa.update(Lesson).where(Lesson.id == course.lessons[0].id).values(title="New")
    ),
    "a lesson is added": lambda course: sa.insert(Lesson).values(
        world_id=course.world.id, level_id=course.level.id, title="New", order_index=9
    ),
    "a lesson is deleted": lambda course: sa.delete(Lesson).where(Lesson.id == course.lessons[0].id),
    "a level is deleted": lambda course: sa.delete(Level).where(Level.id == course.level.id),
}


async def execute(school: School, *statements: sa.Executable) -> int:
    """Execute statements in one transaction, and return its id."""
    async with school.sessions.begin() as session:
        for statement in statements:
            await session.execute(statement)
        number: int | None = await session.scalar(sa.text("SELECT pg_current_xact_id()::text::bigint"))
        assert number is not None
        return number


@pytest.fixture
async def courses(school: School) -> list[Course]:
    return [await add_course(school), await add_course(school)]


async def revisions(school: School, courses: list[Course]) -> list[int | None]:
    return [await school.scalar(REVISION), *[await get_course_revision(school, course.world) for course in courses]]


@pytest.mark.parametrize("name", CHANGES)
async def test_a_change_gives_its_course_and_the_catalogue_a_new_revision(
    school: School, courses: list[Course], name: str
) -> None:
    _, _, before = await revisions(school, courses)

    transaction = await execute(school, CHANGES[name](courses[0]))

    assert await revisions(school, courses) == [transaction, transaction, before]


async def test_a_lesson_that_moves_changes_both_courses(school: School, courses: list[Course]) -> None:
    here, there = courses
    move = sa.update(Lesson).where(Lesson.id == here.lessons[0].id)

    transaction = await execute(school, move.values(world_id=there.world.id, level_id=there.level.id))

    assert await revisions(school, courses) == [transaction] * 3


async def test_a_new_course_has_a_revision(school: School) -> None:
    world = await school.world()

    assert await get_course_revision(school, world) == await school.scalar(REVISION)


async def test_a_deleted_course_leaves_no_revision(school: School, courses: list[Course]) -> None:
    """Its lessons are deleted with it, which does not bring the revision back."""
    _, _, other = await revisions(school, courses)

    transaction = await execute(
        school, CHANGES["a lesson is changed"](courses[0]), sa.delete(World).where(World.id == courses[0].world.id)
    )

    assert await revisions(school, courses) == [transaction, None, other]
    assert await school.scalar(sa.select(sa.func.count()).select_from(CourseRevision)) == 1


async def test_changes_of_many_rows_in_one_transaction_are_one_revision(school: School, courses: list[Course]) -> None:
    transaction = await execute(school, sa.update(Lesson).values(title="New"), sa.update(World).values(title="New"))

    assert await revisions(school, courses) == [transaction] * 3


async def test_a_change_that_is_rolled_back_leaves_the_revisions(school: School, courses: list[Course]) -> None:
    before = await revisions(school, courses)

    async with school.sessions() as session:
        await session.execute(sa.update(World).values(title="New"))
        await session.execute(sa.delete(Lesson))
        await session.rollback()

    assert await revisions(school, courses) == before


@pytest.mark.parametrize("first", [0, 1])
async def test_changes_of_two_lessons_of_a_course_do_not_wait_for_each_other(
    school: School, courses: list[Course], first: int
) -> None:
    """The revisions are locked at the commit and not before, in either order of commits."""
    change = sa.update(Lesson).values(title="New")
    async with school.sessions() as one, school.sessions() as other:
        for session, lesson in zip((one, other), courses[0].lessons, strict=False):
            await session.execute(sa.text("SET LOCAL lock_timeout = '1s'"))
            await session.execute(change.where(Lesson.id == lesson.id))
        for session in [(one, other), (other, one)][first]:
            await session.commit()

    titles = [lesson.title for lesson in await school.lessons_of(courses[0].world)]
    assert titles.count("New") == 2


async def test_transactions_that_change_the_same_courses_in_opposite_order_do_not_deadlock(
    school: School, courses: list[Course]
) -> None:
    """The first to write a revision holds that of the catalogue, and the other waits for it before any course's."""
    write_now = sa.text("SET CONSTRAINTS ALL IMMEDIATE")

    def change(course: int, lesson: int) -> Any:
        return sa.update(Lesson).where(Lesson.id == courses[course].lessons[lesson].id).values(title="New")

    async with school.sessions() as one, school.sessions() as other:
        await one.execute(change(0, 0))
        await one.execute(write_now)
        await other.execute(change(1, 1))
        writing = asyncio.create_task(other.execute(write_now))
        await wait_for_waiters(school, 1)
        await one.execute(change(1, 0))
        await one.commit()
        await writing
        await other.execute(change(0, 1))
        transaction = await other.scalar(sa.text("SELECT pg_current_xact_id()::text::bigint"))
        await other.commit()

    assert await revisions(school, courses) == [transaction] * 3
