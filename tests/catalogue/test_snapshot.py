"""The catalogue in memory: read once for all, never older than what a reader may know, never another reader's."""

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from typing import Any, NamedTuple
from uuid import UUID

import httpx
import pytest
import sqlalchemy as sa
from asgi_lifespan import LifespanManager
from litestar import Litestar
from sqlalchemy.ext.asyncio import AsyncSession

from conftest import TurnableClock, counted
from factories import Caller, School, calling
from mambo.app import create_app
from mambo.catalogue.repository import BATCH, LESSONS, PLACES
from mambo.catalogue.snapshot import percentage_of
from mambo.courses.models import CatalogueRevision, Lesson, Level, World
from mambo.game.models import ActivityDay, XpEvent
from mambo.progress.models import LessonCompletion
from mambo.progress.service import progress
from mambo.settings import Settings
from mambo.users.models import UserProfile
from mambo.web.principal import Role
from support.locks import wait_for_waiters as waiting
from support.quizzes import QUIZ

WORLDS = "/api/courses/worlds"
SECRET = {"video_url": "https://v.example/1", "mux_playback_id": "worth-paying-for"}
REVISION = sa.select(CatalogueRevision.revision)
A_WHILE = sa.select(sa.func.pg_sleep(0.2))  # in which whoever could answer without waiting has answered


@pytest.fixture
async def remembering(settings: Settings, clock: TurnableClock, school: School) -> AsyncIterator[Litestar]:
    """A worker that remembers for an hour: whatever it sees sooner, it was told by the database."""
    app = create_app(settings, clock=clock, runs_jobs=False, memory_seconds=3600)
    async with LifespanManager(app):  # type: ignore[arg-type]
        yield app


@pytest.fixture
async def visitor(remembering: Litestar) -> AsyncIterator[httpx.AsyncClient]:
    """Anyone, at that worker."""
    transport = httpx.ASGITransport(app=remembering, raise_app_exceptions=False)  # type: ignore[arg-type]
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        yield client


class Course(NamedTuple):
    """Three lessons in one level, and one in another."""

    world: World
    level: Level
    lessons: list[Lesson]

    @property
    def pages(self) -> list[str]:
        return [WORLDS, lessons_of(self.world), lesson_page(self.lessons[0])]


@pytest.fixture
async def course(school: School) -> Course:
    world = await school.world(lessons=3)
    level = await school.level(world, order_index=1)
    await school.lesson(level)
    return Course(world, level, await school.lessons_of(world))


def lessons_of(world: World) -> str:
    return f"{WORLDS}/{world.id}/lessons"


def lesson_page(lesson: Lesson) -> str:
    return f"/api/courses/lessons/{lesson.id}"


async def seen(reader: Caller | httpx.AsyncClient, pages: list[str]) -> list[tuple[int, str | None]]:
    """What a reader is answered: the tag stands for the body."""
    answers = [await reader.get(page) for page in pages]
    return [(answer.status_code, answer.headers.get("etag")) for answer in answers]


async def lock(session: AsyncSession, table: str) -> None:
    """Let nobody read the table until the transaction ends."""
    await session.execute(sa.text(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE"))


async def rename(school: School, world: World) -> None:
    async with school.sessions.begin() as session:
        await session.execute(sa.update(World).where(World.id == world.id).values(title="Renamed"))


# One reads for all


async def test_of_two_hundred_readers_after_a_change_one_reads_the_catalogue(
    school: School, remembering: Litestar, course: Course
) -> None:
    """All of them see the change, and no lesson is read again, for none has changed."""
    learners = [calling(remembering, await school.person()) for _ in range(4)]
    for learner in learners:
        await learner.get(WORLDS)
    await rename(school, course.world)

    with counted(remembering) as statements:
        answers = await asyncio.gather(*(learner.get(WORLDS) for learner in learners * 50))

    assert {answer.json()[0]["title"] for answer in answers} == {"Renamed"}
    assert (statements.count(PLACES.sql), statements.count(LESSONS.sql)) == (1, 0)


async def test_of_two_hundred_readers_after_a_start_one_reads_the_catalogue(
    school: School, remembering: Litestar, course: Course
) -> None:
    learners = [calling(remembering, await school.person()) for _ in range(4)]
    for learner in learners:
        await learner.get("/api/users/me")

    with counted(remembering) as statements:
        answers = await asyncio.gather(*(learner.get(lessons_of(course.world)) for learner in learners * 50))

    assert {len(answer.json()) for answer in answers} == {4}
    assert (statements.count(PLACES.sql), statements.count(LESSONS.sql)) == (1, 1)


async def test_only_the_lesson_that_changed_is_read_again(school: School, remembering: Litestar) -> None:
    """More of them than one statement reads."""
    world = await school.world(lessons=BATCH + 1)
    [lesson, *_] = await school.lessons_of(world)
    learner, admin = calling(remembering, await school.person()), await school.admin()
    with counted(remembering) as first:
        await learner.get(lessons_of(world))
    await admin.patch(f"/api/admin/lessons/{lesson.id}", {"title": "New"})

    with counted(remembering) as again:
        answer = await learner.get(lessons_of(world))

    assert [one["title"] for one in answer.json()].count("New") == 1
    assert (first.count(LESSONS.sql), again.count(LESSONS.sql)) == (2, 1)


async def test_nothing_is_read_again_where_nothing_has_changed(
    school: School, remembering: Litestar, course: Course
) -> None:
    """What a learner completes is no change of the catalogue."""
    learner = calling(remembering, await school.person())
    await learner.get(WORLDS)
    await learner.post(f"{lesson_page(course.lessons[0])}/complete")

    with counted(remembering) as statements:
        await seen(learner, course.pages)

    assert len(statements) == 3, statements


# What an admin does


def places(course: Course) -> list[dict[str, Any]]:
    """The lessons, backwards."""
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
    "a course is made": lambda _: (
        "POST",
        "courses",
        NEW | {"slug": "new", "difficulty": "Advanced", "is_published": True},
    ),
    "lessons are moved": lambda course: ("PUT", f"courses/{course.world.id}/order", places(course)),
    "a lesson is edited": lambda course: ("PATCH", f"lessons/{course.lessons[0].id}", {"description": "New"}),
    "a lesson pays more": lambda course: ("PATCH", f"lessons/{course.lessons[0].id}", {"xp_value": 999}),
    "a lesson is added": lambda course: ("POST", f"courses/{course.world.id}/lessons", NEW),
    "the lesson beside it is deleted": lambda course: ("DELETE", f"lessons/{course.lessons[1].id}", None),
    "a level is deleted": lambda course: ("DELETE", f"levels/{course.level.id}", None),
}


async def change(admin: Caller, course: Course, name: str) -> None:
    method, path, body = CHANGES[name](course)
    answer = await admin.request(method, f"/api/admin/{path}", **({} if body is None else {"json": body}))
    assert answer.is_success, answer.text


@pytest.mark.parametrize("name", CHANGES)
async def test_who_is_signed_in_sees_a_change_at_once_at_every_worker(
    school: School, remembering: Litestar, course: Course, name: str
) -> None:
    """The same as where nothing is remembered."""
    learner, admin = await school.person(), await school.admin()
    reader = calling(remembering, learner)
    before = await seen(reader, course.pages)

    await change(admin, course, name)

    after = await seen(reader, course.pages)
    assert after != before
    assert after == await seen(learner, course.pages)


@pytest.mark.parametrize("name", CHANGES)
async def test_anyone_sees_a_change_when_their_second_is_over(
    school: School, client: httpx.AsyncClient, visitor: httpx.AsyncClient, course: Course, name: str
) -> None:
    """Until then they see what was there before, and the second of `client` is always over."""
    pages, admin = course.pages[:2], await school.admin()
    before = await seen(visitor, pages)

    await change(admin, course, name)

    assert await seen(visitor, pages) == before
    assert await seen(client, pages) != before


async def test_anyone_sees_a_change_at_once_where_someone_signed_in_has_seen_it(
    school: School, remembering: Litestar, visitor: httpx.AsyncClient, course: Course
) -> None:
    learner = calling(remembering, await school.person())
    await visitor.get(WORLDS)
    await rename(school, course.world)

    await learner.get(WORLDS)

    assert (await visitor.get(WORLDS)).json()[0]["title"] == "Renamed"


async def test_the_admin_sees_at_once_what_they_wrote(school: School, remembering: Litestar, course: Course) -> None:
    admin = calling(remembering, await school.admin())
    await admin.get(WORLDS)
    titles = [f"Title {number}" for number in range(10)]

    read = []
    for title in titles:
        await admin.patch(f"/api/admin/courses/{course.world.id}", {"title": title})
        read.append((await admin.get(WORLDS)).json()[0]["title"])

    assert read == titles


async def test_news_of_a_video_are_seen_at_once(school: School, remembering: Litestar, course: Course) -> None:
    """They come from Mux and go straight into the row."""
    learner = calling(remembering, await school.person())
    before = (await learner.get(lesson_page(course.lessons[0]))).json()

    async with school.sessions.begin() as session:
        its_row = sa.update(Lesson).where(Lesson.id == course.lessons[0].id)
        await session.execute(its_row.values(mux_playback_id="p2", duration_seconds=61))

    after = (await learner.get(lesson_page(course.lessons[0]))).json()
    assert (before["mux_playback_id"], before["duration_minutes"]) == (None, None)
    assert (after["mux_playback_id"], after["duration_minutes"]) == ("p2", 2)


async def test_what_is_unpublished_is_gone_at_once_for_a_learner(
    school: School, remembering: Litestar, course: Course
) -> None:
    learner, admin = calling(remembering, await school.person(subscribed=True)), await school.admin()
    await seen(learner, course.pages)

    await change(admin, course, "a course is unpublished")

    assert (await learner.get(WORLDS)).json() == []
    statuses = [
        (await learner.get(lessons_of(course.world))).status_code,
        (await learner.get(lesson_page(course.lessons[0]))).status_code,
        (await learner.post(f"{lesson_page(course.lessons[0])}/complete")).status_code,
    ]
    assert statuses == [404, 404, 404]
    assert await school.scalar(sa.select(sa.func.count()).select_from(LessonCompletion)) == 0


async def test_what_is_no_longer_free_shows_nothing_paid_for(
    school: School, remembering: Litestar, client: httpx.AsyncClient
) -> None:
    world = await school.world()
    lesson = await school.lesson(await school.level(world), content_json={"notes": "worth-paying-for"}, **SECRET)
    learner, admin = calling(remembering, await school.person()), await school.admin()
    before = await learner.get(lessons_of(world))

    await admin.patch(f"/api/admin/courses/{world.id}", {"is_free": False})

    after = [await who.get(lessons_of(world)) for who in (learner, client)]
    assert "worth-paying-for" in before.text
    assert ["worth-paying-for" in answer.text for answer in after] == [False, False]
    statuses = [
        (await learner.get(lesson_page(lesson))).status_code,
        (await learner.post(f"{lesson_page(lesson)}/complete")).status_code,
    ]
    assert statuses == [403, 403]


COMPLETIONS: dict[str, tuple[dict[str, Any], int, int]] = {
    "it pays more": ({"xp_value": 999}, 200, 999),
    "it is a boss battle": ({"is_boss_battle": True}, 409, 0),
    "it lies in a course that is no longer free": ({"world": {"is_free": False}}, 403, 0),
    "it lies in a course that is not published": ({"world": {"is_published": False}}, 404, 0),
}


@pytest.mark.parametrize("name", COMPLETIONS)
async def test_a_lesson_is_completed_as_it_is_now(
    school: School, remembering: Litestar, course: Course, name: str
) -> None:
    """Though this worker hears of the change by the completion alone."""
    change, status, paid = COMPLETIONS[name]
    learner, [lesson, *_] = calling(remembering, await school.person()), course.lessons
    await learner.get(lesson_page(lesson))
    async with school.sessions.begin() as session:
        if course_change := change.get("world"):
            await session.execute(sa.update(World).values(**course_change))
        else:
            await session.execute(sa.update(Lesson).where(Lesson.id == lesson.id).values(**change))

    answer = await learner.post(f"{lesson_page(lesson)}/complete")

    assert (answer.status_code, answer.json().get("xp_gained", 0)) == (status, paid)
    assert (await school.scalar(sa.select(sa.func.sum(XpEvent.amount))) or 0) == paid
    assert await school.scalar(sa.select(sa.func.count()).select_from(LessonCompletion)) == bool(paid)


async def test_who_completed_it_before_it_was_hidden_is_told_no_more_of_it(
    school: School, remembering: Litestar, course: Course
) -> None:
    learner = calling(remembering, await school.person())
    await learner.post(f"{lesson_page(course.lessons[0])}/complete")
    async with school.sessions.begin() as session:
        await session.execute(sa.update(World).values(is_published=False))

    assert (await learner.post(f"{lesson_page(course.lessons[0])}/complete")).status_code == 404


async def test_a_boss_battle_that_is_a_lesson_now_is_completed_by_asking(school: School, remembering: Litestar) -> None:
    lesson = await school.lesson(await school.level(await school.world()), is_boss_battle=True)
    learner = calling(remembering, await school.person())
    assert (await learner.post(f"{lesson_page(lesson)}/complete")).status_code == 409

    async with school.sessions.begin() as session:
        await session.execute(sa.update(Lesson).values(is_boss_battle=False))

    assert (await learner.post(f"{lesson_page(lesson)}/complete")).status_code == 200


@pytest.mark.parametrize("is_deleted", [False, True])
async def test_a_lesson_that_was_just_made_is_completed_and_one_that_was_just_deleted_is_not(
    school: School, remembering: Litestar, course: Course, is_deleted: bool
) -> None:
    learner = calling(remembering, await school.person())
    await seen(learner, course.pages)
    lesson = await school.lesson(course.level)
    if is_deleted:
        await learner.get(lesson_page(lesson))
        async with school.sessions.begin() as session:
            await session.execute(sa.delete(Lesson).where(Lesson.id == lesson.id))

    answer = await learner.post(f"{lesson_page(lesson)}/complete")

    assert answer.status_code == (404 if is_deleted else 200)


async def test_a_lesson_that_has_moved_is_completed_in_its_new_course(
    school: School, remembering: Litestar, course: Course
) -> None:
    """The reply counts what was completed there before."""
    other = await school.world(lessons=1)
    [beside] = await school.lessons_of(other)
    learner, [lesson, *_] = calling(remembering, await school.person()), course.lessons
    await learner.post(f"{lesson_page(beside)}/complete")
    async with school.sessions.begin() as session:
        its_row = sa.update(Lesson).where(Lesson.id == lesson.id)
        await session.execute(its_row.values(world_id=other.id, level_id=beside.level_id))

    answers = [(await learner.post(f"{lesson_page(lesson)}/complete")).json() for _ in range(2)]

    assert [(answer["newly_completed"], answer["world"]["id"]) for answer in answers] == [
        (True, str(other.id)),
        (False, str(other.id)),
    ]
    assert [answer["world"]["completed_count"] for answer in answers] == [2, 2]


async def test_a_day_counts_where_the_learner_lives_now(
    school: School, remembering: Litestar, course: Course, clock: TurnableClock
) -> None:
    """Though this worker takes them for elsewhere; 01:00 in UTC is the day before in New York."""
    clock.now = clock.now.replace(hour=1)
    person = await school.person()
    learner = calling(remembering, person)
    await learner.get(lesson_page(course.lessons[0]))
    async with school.sessions.begin() as session:
        await session.execute(sa.update(UserProfile).values(timezone="America/New_York"))

    answer = await learner.post(f"{lesson_page(course.lessons[0])}/complete")

    day = await school.scalar(
        sa.select(ActivityDay.local_date).where(ActivityDay.user_id == person.user_id).order_by(ActivityDay.local_date)
    )
    assert day == clock.now.date() - timedelta(days=1)
    assert answer.json()["newly_completed"]


async def test_lessons_of_a_school_that_has_never_changed_are_completed(
    school: School, remembering: Litestar, course: Course
) -> None:
    """As after the migration, which finds courses and counts no change."""
    async with school.sessions.begin() as session:
        await session.execute(sa.delete(CatalogueRevision))
    learner = calling(remembering, await school.person())

    assert (await learner.post(f"{lesson_page(course.lessons[0])}/complete")).json()["newly_completed"]


async def test_a_course_that_changes_all_the_time_is_completed_later(
    school: School, remembering: Litestar, course: Course, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is stored by what was true a moment ago."""
    monkeypatch.setattr("mambo.catalogue.service.ATTEMPTS", 1)
    learner = calling(remembering, await school.person())
    await learner.get(lesson_page(course.lessons[0]))
    await rename(school, course.world)

    answers = [await learner.post(f"{lesson_page(course.lessons[0])}/complete") for _ in range(2)]

    assert [answer.status_code for answer in answers] == [503, 200]
    assert answers[1].json()["newly_completed"]


async def test_a_completion_is_one_statement(school: School, remembering: Litestar, course: Course) -> None:
    """Where the worker knows the learner and the course; the first and any other."""
    learner = calling(remembering, await school.person())
    await learner.get(lesson_page(course.lessons[0]))

    with counted(remembering) as statements:
        answers = [await learner.post(f"{lesson_page(course.lessons[0])}/complete") for _ in range(2)]

    assert [answer.json()["newly_completed"] for answer in answers] == [True, False]
    assert len(statements) == 2, statements


# Transactions


@pytest.mark.parametrize("first", [0, 1])
async def test_two_changes_at_once_are_both_seen_in_whichever_order_they_are_committed(
    school: School, remembering: Litestar, first: int
) -> None:
    """After each commit that one, and never one that is not committed."""
    worlds = [await school.world(title="Old"), await school.world(title="Old")]
    learner = calling(remembering, await school.person())

    async def titles() -> list[str]:
        return [world["title"] for world in (await learner.get(WORLDS)).json()]

    read = [await titles()]
    async with school.sessions() as one, school.sessions() as other:
        for session, world in zip((one, other), worlds, strict=True):
            await session.execute(sa.update(World).where(World.id == world.id).values(title="New"))
        read.append(await titles())
        for session in [(one, other), (other, one)][first]:
            await session.commit()
            read.append(await titles())

    half = [["New", "Old"], ["Old", "New"]][first]
    assert read == [["Old", "Old"], ["Old", "Old"], half, ["New", "New"]]


async def test_a_change_that_is_rolled_back_is_none(school: School, remembering: Litestar, course: Course) -> None:
    learner = calling(remembering, await school.person())
    before, revision = await seen(learner, course.pages), await school.scalar(REVISION)

    async with school.sessions() as session:
        await session.execute(sa.update(World).values(title="New"))
        await session.execute(sa.delete(Lesson))
        await session.rollback()

    assert (await seen(learner, course.pages), await school.scalar(REVISION)) == (before, revision)


async def test_a_change_of_many_rows_is_one(school: School, course: Course) -> None:
    async with school.sessions.begin() as session:
        await session.execute(sa.update(Lesson).values(title="New"))
        await session.execute(sa.update(World).values(title="New"))
        transaction = await session.scalar(sa.text("SELECT pg_current_xact_id()::text::bigint"))

    assert await school.scalar(REVISION) == transaction


@pytest.mark.parametrize("first", [0, 1])
async def test_who_changes_one_lesson_does_not_wait_for_who_changes_another(
    school: School, course: Course, first: int
) -> None:
    """The revision is locked no sooner than at the commit, whichever comes first."""
    change_of = sa.update(Lesson).values(title="New")
    async with school.sessions() as one, school.sessions() as other:
        for session, lesson in zip((one, other), course.lessons, strict=False):
            await session.execute(sa.text("SET LOCAL lock_timeout = '1s'"))
            await session.execute(change_of.where(Lesson.id == lesson.id))
        for session in [(one, other), (other, one)][first]:
            await session.commit()

    titles = [lesson.title for lesson in await school.lessons_of(course.world)]
    assert titles.count("New") == 2


async def test_memory_never_goes_back_in_time(school: School, remembering: Litestar, course: Course) -> None:
    """A statement that has seen an old revision, and is answered late, gets what is newest."""
    learner = calling(remembering, await school.person())
    await learner.get(WORLDS)
    old = await school.scalar(REVISION)
    await rename(school, course.world)
    await learner.get(WORLDS)

    snapshot = await remembering.state.resources.catalogue.at(old)

    assert snapshot.worlds[course.world.id].row.title == "Renamed"
    assert snapshot.revision == await school.scalar(REVISION)


# While it is being read


async def test_who_asks_while_it_is_read_for_the_first_time_waits_for_it(
    school: School, visitor: httpx.AsyncClient, course: Course
) -> None:
    """An empty list would be a lie."""
    async with school.sessions.begin() as session:
        await lock(session, "world")
        first = asyncio.create_task(visitor.get(WORLDS))
        await waiting(school, 1)
        second = asyncio.create_task(visitor.get(WORLDS))
        await school.scalar(A_WHILE)

    shown = [[world["id"] for world in (await answer).json()] for answer in (first, second)]
    assert shown == [[str(course.world.id)]] * 2


async def test_nobody_is_shown_what_was_before_when_reading_it_fails(
    school: School, remembering: Litestar, course: Course
) -> None:
    """Once for the first, and once for those who came to wait: they hear that it failed, or it is read again."""
    learners = [calling(remembering, await school.person()) for _ in range(3)]
    for learner in learners:
        await learner.get(WORLDS)
    async with school.sessions.begin() as session:
        await session.execute(sa.update(World).values(is_published=False))

    async with school.sessions.begin() as session:
        await lock(session, "world")
        asking = {asyncio.create_task(learner.get(WORLDS)) for learner in learners}
        pending = asking
        for _ in range(2):
            await waiting(school, 1)
            await school.scalar(A_WHILE)  # the others have come to wait for the one
            await session.execute(sa.text("SELECT pg_cancel_backend(pid) FROM pg_locks WHERE NOT granted"))
            _, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
    answers = await asyncio.gather(*asking)

    assert {answer.text for answer in answers if answer.status_code != 503} <= {"[]"}


async def test_what_is_read_is_of_one_moment(school: School, remembering: Litestar, course: Course) -> None:
    """A course that is no longer free, and then gets a video: the video is never seen beside the old lock."""
    [lesson, *_] = course.lessons
    learner = calling(remembering, await school.person())
    await learner.get(WORLDS)
    await rename(school, course.world)

    async with school.sessions.begin() as session:
        await lock(session, "lesson")
        reading = asyncio.create_task(learner.get(lessons_of(course.world)))
        await waiting(school, 1)
        await session.execute(sa.update(World).values(is_free=False))
        await session.execute(sa.update(Lesson).where(Lesson.id == lesson.id).values(**SECRET))

    assert "worth-paying-for" not in (await reading).text


async def test_no_more_than_everything_is_completed(school: School, remembering: Litestar, course: Course) -> None:
    """A lesson is deleted while the course is read for a learner who has completed all."""
    learner = calling(remembering, await school.person())
    for lesson in course.lessons:
        await learner.post(f"{lesson_page(lesson)}/complete")
    await rename(school, course.world)

    async with school.sessions.begin() as session:
        await lock(session, "world")
        reading = asyncio.create_task(learner.get(WORLDS))
        await waiting(school, 1)
        await session.execute(sa.delete(Lesson).where(Lesson.id == course.lessons[0].id))

    assert (await reading).json()[0]["progress_percentage"] == 100.0


def test_of_lessons_that_have_just_been_deleted_no_completion_counts() -> None:
    """Completions are counted by a statement of their own, a moment before the lessons."""
    told = progress(UUID(int=1), 3, 4)

    assert (told["completed_count"], told["progress_percentage"], told["is_complete"]) == (3, 100.0, True)
    assert percentage_of(4, 3) == 100.0


# Whose it is


async def test_what_one_learner_has_completed_never_shows_to_another(
    school: School, remembering: Litestar, course: Course
) -> None:
    """A hundred times each of three pages, by turns."""
    done = {"ana": [course.lessons[0].id], "ben": [lesson.id for lesson in course.lessons[1:]]}
    readers = {name: calling(remembering, await school.person()) for name in done}
    for name, ids in done.items():
        for id_ in ids:
            await readers[name].post(f"/api/courses/lessons/{id_}/complete")

    async def read(name: str) -> tuple[str, list[UUID], float, bool]:
        listed = (await readers[name].get(lessons_of(course.world))).json()
        [world] = (await readers[name].get(WORLDS)).json()
        lesson = (await readers[name].get(lesson_page(course.lessons[0]))).json()
        completed = [UUID(one["id"]) for one in listed if one["is_completed"]]
        return name, completed, world["progress_percentage"], lesson["is_completed"]

    answers = await asyncio.gather(*(read(name) for name in ["ana", "ben"] * 50))

    assert [answer for answer in answers if answer[0] == "ana"] == [("ana", done["ana"], 25.0, True)] * 50
    assert [answer for answer in answers if answer[0] == "ben"] == [("ben", done["ben"], 75.0, False)] * 50


async def test_a_learner_sees_at_once_what_they_have_completed(
    school: School, remembering: Litestar, course: Course
) -> None:
    learner = calling(remembering, await school.person())

    read = []
    for lesson in course.lessons:
        await learner.post(f"{lesson_page(lesson)}/complete")
        listed = (await learner.get(lessons_of(course.world))).json()
        [world] = (await learner.get(WORLDS)).json()
        read.append((sum(one["is_completed"] for one in listed), world["progress_percentage"]))

    assert read == [(1, 25.0), (2, 50.0), (3, 75.0), (4, 100.0)]


ASKED = ["staff", "subscriber", "learner", "visitor"]


@pytest.mark.parametrize("order", [ASKED, ASKED[::-1], ["learner", "staff", "visitor", "subscriber"]], ids="-".join)
async def test_what_is_encoded_for_one_kind_of_reader_never_goes_to_another(
    school: School, remembering: Litestar, visitor: httpx.AsyncClient, order: list[str]
) -> None:
    """Staff see which option of a quiz is right, subscribers the quiz, and others no content, whoever asks first."""
    world = await school.world(is_free=False)
    lesson = await school.lesson(await school.level(world), content_json={"quiz": QUIZ}, **SECRET)
    readers: dict[str, Caller | httpx.AsyncClient] = {
        "staff": calling(remembering, await school.person(Role.INSTRUCTOR)),
        "subscriber": calling(remembering, await school.person(subscribed=True)),
        "learner": calling(remembering, await school.person()),
        "visitor": visitor,
    }

    shown = {}
    for name in order * 2:
        text = (await readers[name].get(lessons_of(world))).text + (await readers[name].get(lesson_page(lesson))).text
        shown[name] = [
            word for word in ("isCorrect", "the tumbao", "Where is beat", SECRET["video_url"]) if word in text
        ]

    assert shown == {
        "staff": ["isCorrect", "the tumbao", "Where is beat", SECRET["video_url"]],
        "subscriber": ["Where is beat", SECRET["video_url"]],
        "learner": [],
        "visitor": [],
    }


async def test_content_that_nobody_can_read_troubles_its_own_course_alone(
    school: School, remembering: Litestar, course: Course
) -> None:
    """It is refused when it is written; this one was written past the API."""
    other = await school.world(lessons=1)
    async with school.sessions.begin() as session:
        broken = sa.update(Lesson).where(Lesson.world_id == other.id).values(content_json={"quiz": "none"})
        await session.execute(broken)
    learner = calling(remembering, await school.person())

    statuses = [(await learner.get(path)).status_code for path in (WORLDS, lessons_of(course.world), lessons_of(other))]

    assert statuses[:2] == [200, 200]
    assert statuses[2] >= 400
