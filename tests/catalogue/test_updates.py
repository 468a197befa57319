"""A worker's memory: one update serves all who wait, it reads only what has changed, and nobody sees old data."""

import asyncio
from collections.abc import Callable
from typing import Any

import asyncpg
import httpx
import pytest
import sqlalchemy as sa
from litestar import Litestar

from conftest import counted
from factories import Caller, School, calling
from mambo.catalogue import snapshot
from mambo.catalogue.repository import BATCH, LESSON_VERSIONS, LESSONS, NEWEST, REVISIONS
from mambo.courses.models import Lesson, World
from mambo.progress.models import LessonCompletion
from support.catalogue import (
    A_WHILE,
    PAID,
    REVISION,
    WORLDS,
    Course,
    add_course,
    complete,
    get_tags,
    lesson_path,
    lessons_path,
    lock_table,
    update_lesson,
    update_world,
)
from support.locks import wait_for_waiters

# What an update reads

UPDATE = (NEWEST, REVISIONS, LESSON_VERSIONS, LESSONS)


async def test_two_hundred_readers_after_a_change_share_one_update(
    school: School, worker: Litestar, course: Course
) -> None:
    """All of them see the change, and no lesson is read again, because none has changed."""
    learners = [calling(worker, await school.person()) for _ in range(4)]
    for learner in learners:
        await learner.get(WORLDS)
    await update_world(school, course.world, title="Renamed")

    with counted(worker) as statements:
        responses = await asyncio.gather(*(learner.get(WORLDS) for learner in learners * 50))

    assert {response.json()[0]["title"] for response in responses} == {"Renamed"}
    assert [statements.count(query.sql) for query in UPDATE] == [1, 1, 0, 0]


async def test_two_hundred_readers_after_a_start_share_one_update(
    school: School, worker: Litestar, course: Course
) -> None:
    learners = [calling(worker, await school.person()) for _ in range(4)]
    for learner in learners:
        await learner.get("/api/users/me")

    with counted(worker) as statements:
        responses = await asyncio.gather(*(learner.get(lessons_path(course.world)) for learner in learners * 50))

    assert {len(response.json()) for response in responses} == {4}
    assert [statements.count(query.sql) for query in UPDATE] == [1, 1, 1, 1]


async def test_readers_of_many_courses_after_a_start_share_one_update(school: School, worker: Litestar) -> None:
    """It reads the courses of all who wait for it when it has read the list."""
    courses = [await add_course(school) for _ in range(5)]
    learner = calling(worker, await school.person())
    await learner.get("/api/users/me")

    with counted(worker) as statements:
        async with school.sessions.begin() as session:
            await lock_table(session, "lesson")
            first = asyncio.create_task(learner.get(lessons_path(courses[0].world)))
            await wait_for_waiters(school, 1)
            others = [asyncio.create_task(learner.get(lessons_path(course.world))) for course in courses * 10]
            await school.scalar(A_WHILE)  # all of them wait for the update by now
        responses = await asyncio.gather(first, *others)

    assert {len(response.json()) for response in responses} == {4}
    assert [statements.count(query.sql) for query in UPDATE] == [1, 1, 5, 5]


async def test_the_list_of_courses_reads_no_lessons(school: School, worker: Litestar, course: Course) -> None:
    learner = calling(worker, await school.person())

    with counted(worker) as statements:
        [world] = (await learner.get(WORLDS)).json()

    assert world["lesson_count"] == 4
    assert [statements.count(query.sql) for query in UPDATE] == [1, 1, 0, 0]


async def test_only_the_lesson_that_changed_is_read_again(school: School, worker: Litestar) -> None:
    """The course has more lessons than one statement reads."""
    world = await school.world(lessons=BATCH + 1)
    [lesson, *_] = await school.lessons_of(world)
    learner, admin = calling(worker, await school.person()), await school.admin()
    with counted(worker) as first:
        await learner.get(lessons_path(world))
    await admin.patch(f"/api/admin/lessons/{lesson.id}", {"title": "New"})

    with counted(worker) as again:
        response = await learner.get(lessons_path(world))

    assert [one["title"] for one in response.json()].count("New") == 1
    assert (first.count(LESSONS.sql), again.count(LESSONS.sql)) == (2, 1)


async def test_only_the_course_that_changed_is_read_again(school: School, worker: Litestar, course: Course) -> None:
    other = await add_course(school)
    learner, catalogue = calling(worker, await school.person()), worker.state.resources.catalogue
    pages = [lessons_path(course.world), lessons_path(other.world)]
    before = await get_tags(learner, pages)
    kept = catalogue.newest.worlds[other.world.id]
    await update_lesson(school, course.lessons[0], title="New")

    with counted(worker) as statements:
        after = await get_tags(learner, pages)

    assert [one != two for one, two in zip(before, after, strict=True)] == [True, False]
    assert [statements.count(query.sql) for query in UPDATE][1:] == [1, 1, 1]
    assert catalogue.newest.worlds[other.world.id] is kept


async def test_nothing_is_read_again_if_nothing_has_changed(school: School, worker: Litestar, course: Course) -> None:
    """A completion does not change the catalogue."""
    learner = calling(worker, await school.person())
    await get_tags(learner, course.pages)
    await complete(learner, course.lessons[0])

    with counted(worker) as statements:
        await get_tags(learner, course.pages)

    assert len(statements) == 3, statements


# Changes by an admin


def order(course: Course) -> list[dict[str, Any]]:
    """Return the lessons in reverse, as the body of a request."""
    return [
        {
            "lesson_id": str(lesson.id),
            "level_id": str(lesson.level_id),
            "week_number": None,
            "day_number": None,
            "order_index": 10 - index,
        }
        for index, lesson in enumerate(course.lessons)
    ]


NEW = {"title": "New", "order_index": 99}
CHANGES: dict[str, Callable[[Course], tuple[str, str, Any]]] = {
    "a course is renamed": lambda course: ("PATCH", f"courses/{course.world.id}", {"title": "New"}),
    "a course is unpublished": lambda course: ("PATCH", f"courses/{course.world.id}", {"is_published": False}),
    "a course is no longer free": lambda course: ("PATCH", f"courses/{course.world.id}", {"is_free": False}),
    "a course is deleted": lambda course: ("DELETE", f"courses/{course.world.id}", None),
    "a course is created": lambda _: (
        "POST",
        "courses",
        NEW | {"slug": "new", "difficulty": "Advanced", "is_published": True},
    ),
    "lessons are moved": lambda course: ("PUT", f"courses/{course.world.id}/order", order(course)),
    "a lesson is edited": lambda course: ("PATCH", f"lessons/{course.lessons[0].id}", {"description": "New"}),
    "a lesson pays more": lambda course: ("PATCH", f"lessons/{course.lessons[0].id}", {"xp_value": 999}),
    "a lesson is added": lambda course: ("POST", f"courses/{course.world.id}/lessons", NEW),
    "the lesson beside it is deleted": lambda course: ("DELETE", f"lessons/{course.lessons[1].id}", None),
    "a level is deleted": lambda course: ("DELETE", f"levels/{course.level.id}", None),
}


async def change(admin: Caller, course: Course, name: str) -> None:
    method, path, body = CHANGES[name](course)
    response = await admin.request(method, f"/api/admin/{path}", **({} if body is None else {"json": body}))
    assert response.is_success, response.text


@pytest.mark.parametrize("name", CHANGES)
async def test_a_learner_sees_a_change_at_once_at_every_worker(
    school: School, worker: Litestar, course: Course, name: str
) -> None:
    """The worker that remembers returns the same as one that reads everything each time."""
    learner, admin = await school.person(), await school.admin()
    reader = calling(worker, learner)
    before = await get_tags(reader, course.pages)

    await change(admin, course, name)

    after = await get_tags(reader, course.pages)
    assert after != before
    assert after == await get_tags(learner, course.pages)


@pytest.mark.parametrize("name", CHANGES)
async def test_a_visitor_sees_a_change_when_the_second_is_over(
    school: School, client: httpx.AsyncClient, visitor: httpx.AsyncClient, course: Course, name: str
) -> None:
    """The second of `visitor` lasts an hour, and that of `client` is always over."""
    pages, admin = course.pages[:2], await school.admin()
    before = await get_tags(visitor, pages)

    await change(admin, course, name)

    assert await get_tags(visitor, pages) == before
    assert await get_tags(client, pages) != before


async def test_reading_a_course_from_memory_does_not_prolong_the_second(
    school: School, visitor: httpx.AsyncClient, course: Course, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It reads the course at the revision that the worker knows, without looking whether there is a newer one."""
    now = 0.0
    monkeypatch.setattr("mambo.catalogue.snapshot.monotonic", lambda: now)
    await visitor.get(WORLDS)
    now = 3000.0
    await visitor.get(lessons_path(course.world))
    await update_world(school, course.world, title="Renamed")
    now = 3700.0

    assert (await visitor.get(WORLDS)).json()[0]["title"] == "Renamed"


async def test_a_visitor_sees_a_change_at_once_if_a_learner_at_the_worker_has_seen_it(
    school: School, worker: Litestar, visitor: httpx.AsyncClient, course: Course
) -> None:
    learner = calling(worker, await school.person())
    await visitor.get(WORLDS)
    await update_world(school, course.world, title="Renamed")

    await learner.get(WORLDS)

    assert (await visitor.get(WORLDS)).json()[0]["title"] == "Renamed"


async def test_an_admin_sees_each_of_their_own_changes_at_once(
    school: School, worker: Litestar, course: Course
) -> None:
    admin = calling(worker, await school.admin())
    await admin.get(WORLDS)
    titles = [f"Title {number}" for number in range(10)]

    read = []
    for title in titles:
        await admin.patch(f"/api/admin/courses/{course.world.id}", {"title": title})
        read.append((await admin.get(WORLDS)).json()[0]["title"])

    assert read == titles


async def test_an_update_of_a_video_is_seen_at_once(school: School, worker: Litestar, course: Course) -> None:
    """Mux reports it, and it is stored in the lesson's row."""
    learner = calling(worker, await school.person())
    before = (await learner.get(lesson_path(course.lessons[0]))).json()

    await update_lesson(school, course.lessons[0], mux_playback_id="p2", duration_seconds=61)

    after = (await learner.get(lesson_path(course.lessons[0]))).json()
    assert (before["mux_playback_id"], before["duration_minutes"]) == (None, None)
    assert (after["mux_playback_id"], after["duration_minutes"]) == ("p2", 2)


async def test_an_unpublished_course_is_hidden_from_learners_at_once(
    school: School, worker: Litestar, course: Course
) -> None:
    learner, admin = calling(worker, await school.person(subscribed=True)), await school.admin()
    await get_tags(learner, course.pages)

    await change(admin, course, "a course is unpublished")

    assert (await learner.get(WORLDS)).json() == []
    statuses = [
        (await learner.get(lessons_path(course.world))).status_code,
        (await learner.get(lesson_path(course.lessons[0]))).status_code,
        (await complete(learner, course.lessons[0])).status_code,
    ]
    assert statuses == [404, 404, 404]
    assert await school.scalar(sa.select(sa.func.count()).select_from(LessonCompletion)) == 0


async def test_a_course_that_is_no_longer_free_shows_nothing_that_is_paid_for(
    school: School, worker: Litestar, client: httpx.AsyncClient
) -> None:
    world = await school.world()
    lesson = await school.lesson(await school.level(world), content_json={"notes": "worth-paying-for"}, **PAID)
    learner, admin = calling(worker, await school.person()), await school.admin()
    before = await learner.get(lessons_path(world))

    await admin.patch(f"/api/admin/courses/{world.id}", {"is_free": False})

    after = [await reader.get(lessons_path(world)) for reader in (learner, client)]
    assert "worth-paying-for" in before.text
    assert ["worth-paying-for" in response.text for response in after] == [False, False]
    statuses = [(await learner.get(lesson_path(lesson))).status_code, (await complete(learner, lesson)).status_code]
    assert statuses == [403, 403]


async def test_a_lesson_that_moves_to_another_course_is_in_that_course_alone(
    school: School, worker: Litestar, course: Course
) -> None:
    other = await add_course(school)
    learner, lesson = calling(worker, await school.person()), course.lessons[0]
    pages = [lessons_path(course.world), lessons_path(other.world)]
    await get_tags(learner, pages)

    await update_lesson(school, lesson, world_id=other.world.id, level_id=other.level.id)

    listed = [[one["id"] for one in (await learner.get(page)).json()] for page in pages]
    assert [str(lesson.id) in ids for ids in listed] == [False, True]
    assert [len(ids) for ids in listed] == [3, 5]
    assert (await learner.get(lesson_path(lesson))).json()["world_id"] == str(other.world.id)


# Transactions


@pytest.mark.parametrize("first", [0, 1])
async def test_two_concurrent_changes_are_both_seen_in_either_order_of_their_commits(
    school: School, worker: Litestar, first: int
) -> None:
    """After each commit that change, and never one that is not committed."""
    courses = [await add_course(school) for _ in range(2)]
    learner = calling(worker, await school.person())

    async def titles() -> list[str]:
        pages = [await learner.get(lessons_path(course.world)) for course in courses]
        return ["New" if "New" in page.text else "Old" for page in pages]

    read = [await titles()]
    async with school.sessions() as one, school.sessions() as other:
        for session, course in zip((one, other), courses, strict=True):
            change_title = sa.update(Lesson).where(Lesson.id == course.lessons[0].id).values(title="New")
            await session.execute(change_title)
        read.append(await titles())
        for session in [(one, other), (other, one)][first]:
            await session.commit()
            read.append(await titles())

    half = [["New", "Old"], ["Old", "New"]][first]
    assert read == [["Old", "Old"], ["Old", "Old"], half, ["New", "New"]]


async def test_memory_never_goes_back_in_time(school: School, worker: Litestar, course: Course) -> None:
    """A request whose statement has seen an old revision, and that continues late, gets the newest data."""
    learner = calling(worker, await school.person())
    await learner.get(lessons_path(course.world))
    old = await school.scalar(REVISION)
    await update_world(school, course.world, title="Renamed")
    await learner.get(WORLDS)
    catalogue = worker.state.resources.catalogue

    snapshot, read = await catalogue.at(old), await catalogue.course_at(old, course.world.id)

    assert snapshot.worlds[course.world.id].title == read.row.title == "Renamed"
    assert snapshot.revision == await school.scalar(REVISION)


# While the catalogue is being read


async def test_a_reader_waits_while_the_catalogue_is_read_for_the_first_time(
    school: School, visitor: httpx.AsyncClient, course: Course
) -> None:
    """Nobody gets the empty list with which a worker starts."""
    async with school.sessions.begin() as session:
        await lock_table(session, "world")
        first = asyncio.create_task(visitor.get(WORLDS))
        await wait_for_waiters(school, 1)
        second = asyncio.create_task(visitor.get(WORLDS))
        await school.scalar(A_WHILE)

    listed = [[world["id"] for world in (await response).json()] for response in (first, second)]
    assert listed == [[str(course.world.id)]] * 2


async def test_nobody_gets_old_data_when_an_update_fails(school: School, worker: Litestar, course: Course) -> None:
    """It fails for the first reader, and for those who wait: they get an error, or it is tried again."""
    learners = [calling(worker, await school.person()) for _ in range(3)]
    for learner in learners:
        await learner.get(WORLDS)
    await update_world(school, course.world, is_published=False)

    async with school.sessions.begin() as session:
        await lock_table(session, "world")
        reading = {asyncio.create_task(learner.get(WORLDS)) for learner in learners}
        pending = reading
        for _ in range(2):
            await wait_for_waiters(school, 1)
            await school.scalar(A_WHILE)  # the others wait for the update by now
            await session.execute(sa.text("SELECT pg_cancel_backend(pid) FROM pg_locks WHERE NOT granted"))
            _, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
    responses = await asyncio.gather(*reading)

    assert {response.text for response in responses if response.status_code != 503} <= {"[]"}


async def test_a_course_and_its_lessons_are_as_of_one_moment(school: School, worker: Litestar, course: Course) -> None:
    """The course is no longer free, and then gets a video: the video is never seen with the old access."""
    learner = calling(worker, await school.person())
    await learner.get(WORLDS)

    async with school.sessions.begin() as session:
        await lock_table(session, "lesson")
        reading = asyncio.create_task(learner.get(lessons_path(course.world)))
        await wait_for_waiters(school, 1)
        await session.execute(sa.update(World).values(is_free=False))
        await session.execute(sa.update(Lesson).where(Lesson.id == course.lessons[0].id).values(**PAID))

    assert "worth-paying-for" not in (await reading).text


async def test_a_course_is_read_for_those_who_wait_when_the_update_before_fails(
    school: School, worker: Litestar, course: Course, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The update that fails had begun to read the course for them."""
    learners = [calling(worker, await school.person()) for _ in range(2)]
    for learner in learners:
        await learner.get(WORLDS)
    await update_world(school, course.world, title="Renamed")

    async def fail_once(*_: object) -> None:
        monkeypatch.undo()
        raise asyncpg.QueryCanceledError

    monkeypatch.setattr(snapshot, "read_lessons", fail_once)
    async with school.sessions.begin() as session:
        await lock_table(session, "world")
        first = asyncio.create_task(learners[0].get(lessons_path(course.world)))
        await wait_for_waiters(school, 1)
        second = asyncio.create_task(learners[1].get(lessons_path(course.world)))
        await school.scalar(A_WHILE)  # the second waits for the update by now

    assert (await first).status_code == 503
    assert len((await second).json()) == 4


async def test_no_more_than_every_lesson_counts_as_completed(school: School, worker: Litestar, course: Course) -> None:
    """A lesson is deleted while the course is read for a learner who has completed all of them."""
    learner = calling(worker, await school.person())
    for lesson in course.lessons:
        await complete(learner, lesson)
    await update_world(school, course.world, title="Renamed")

    async with school.sessions.begin() as session:
        await lock_table(session, "world")
        reading = asyncio.create_task(learner.get(WORLDS))
        await wait_for_waiters(school, 1)
        await session.execute(sa.delete(Lesson).where(Lesson.id == course.lessons[0].id))

    assert (await reading).json()[0]["progress_percentage"] == 100.0
