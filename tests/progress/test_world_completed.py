"""The event of a completed world: raised once, in the transaction of the completion, or not at all."""

import asyncio
from collections.abc import AsyncIterator
from uuid import UUID

import pytest
import sqlalchemy as sa
from asgi_lifespan import LifespanManager
from litestar import Litestar
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

from conftest import TurnableClock
from factories import School, calling
from mambo.app import create_app
from mambo.game.models import ActivityDay, WeeklyXp, XpEvent
from mambo.progress.events import WorldCompleted
from mambo.progress.models import LessonCompletion
from mambo.progress.repository import CompletionRepository
from mambo.settings import Settings
from mambo.submissions.models import Submission
from mambo.users.repository import ProfileRepository
from support.catalogue import complete
from support.locks import wait_for_waiters
from support.submissions import create_submission, grade

BADGE = sa.table(
    "badge_of_test",
    sa.column("user_id", sa.Uuid()),
    sa.column("world_id", sa.Uuid()),
    sa.column("at", sa.DateTime(timezone=True)),
)


class Badges:
    """A feature that subscribes to the event: it stores a row, and then fails if it must."""

    is_failing = False

    async def give(self, session: AsyncSession, event: WorldCompleted) -> None:
        await session.execute(sa.insert(BADGE).values(user_id=event.user_id, world_id=event.world_id, at=event.at))
        if self.is_failing:
            raise RuntimeError("no badges today")


@pytest.fixture(scope="module")
async def badge_table(engine: AsyncEngine) -> AsyncIterator[None]:
    async with engine.begin() as connection:
        await connection.execute(sa.text("CREATE TABLE badge_of_test (user_id uuid, world_id uuid, at timestamptz)"))
    yield
    async with engine.begin() as connection:
        await connection.execute(sa.text("DROP TABLE badge_of_test"))


@pytest.fixture
async def badges(engine: AsyncEngine, badge_table: None) -> AsyncIterator[Badges]:
    yield Badges()
    async with engine.begin() as connection:
        await connection.execute(sa.delete(BADGE))


@pytest.fixture
async def app_with_badges(
    settings: Settings, clock: TurnableClock, school: School, badges: Badges
) -> AsyncIterator[Litestar]:
    app = create_app(settings, clock=clock, runs_jobs=False, memory_seconds=0, on_world_completed=[badges.give])
    async with LifespanManager(app):  # type: ignore[arg-type]
        yield app


async def get_badges(school: School) -> list[tuple[UUID, UUID]]:
    async with school.sessions() as session:
        return [(user_id, world_id) for user_id, world_id, _ in await session.execute(sa.select(BADGE))]


async def test_the_last_lesson_of_a_world_raises_the_event_and_no_other(
    school: School, app_with_badges: Litestar, clock: TurnableClock
) -> None:
    """Whichever lesson that is, and once though it is completed again; another learner has only begun the world."""
    world = await school.world(lessons=3)
    first, second, third = await school.lessons_of(world)
    ana, ben = [calling(app_with_badges, await school.person()) for _ in range(2)]
    await complete(ben, second)

    seen = []
    for lesson in (third, first, second, second):
        await complete(ana, lesson)
        seen.append(len(await get_badges(school)))

    assert seen == [0, 0, 1, 1]
    assert await get_badges(school) == [(ana.user_id, world.id)]
    assert await school.scalar(sa.select(BADGE.c.at)) == clock()


async def test_a_completion_that_waited_for_that_of_the_last_lesson_but_one_raises_it(
    school: School, app_with_badges: Litestar, clock: TurnableClock
) -> None:
    """It counts the lessons that are stored when it gets the lock of the profile, and not those before."""
    learner = calling(app_with_badges, await school.person())
    first, second = await school.lessons_of(await school.world(lessons=2))
    async with school.sessions() as holder, holder.begin():
        await ProfileRepository(holder).lock(learner.user_id)
        completing = asyncio.create_task(complete(learner, second))
        await wait_for_waiters(school, 1)
        await CompletionRepository(holder).add_once(learner.user_id, first.id, clock())

    assert (await completing).json()["world"]["is_complete"] is True
    assert len(await get_badges(school)) == 1


async def test_fifty_concurrent_completions_of_the_last_lessons_raise_it_once(
    school: School, app_with_badges: Litestar
) -> None:
    """Of the last two lessons, whichever is stored last."""
    learner = calling(app_with_badges, await school.person())
    for number in range(1, 4):
        first, *last = await school.lessons_of(await school.world(lessons=3))
        await complete(learner, first)

        responses = await asyncio.gather(*(complete(learner, lesson) for lesson in last * 25))

        assert [response.status_code for response in responses] == [200] * 50
        assert sum(response.json()["newly_completed"] for response in responses) == 2
        assert len(await get_badges(school)) == number
    await school.check_xp()


async def test_an_approved_boss_battle_raises_it_if_it_is_the_last_lesson(
    school: School, app_with_badges: Litestar
) -> None:
    world = await school.world(lessons=1)
    [lesson] = await school.lessons_of(world)
    boss = await school.lesson(await school.level(world), is_boss_battle=True)
    ana, ben, staff = [
        calling(app_with_badges, person)
        for person in (await school.person(), await school.person(), await school.instructor())
    ]

    await complete(ana, lesson)
    anas = await create_submission(ana, boss)
    bens = await create_submission(ben, boss)
    before = await get_badges(school)
    await grade(staff, bens)
    first = await get_badges(school)
    await grade(staff, anas)
    second = await get_badges(school)
    await complete(ben, lesson)

    assert (before, first, second) == ([], [], [(ana.user_id, world.id)])
    assert await get_badges(school) == [(ana.user_id, world.id), (ben.user_id, world.id)]


async def test_a_rejected_boss_battle_raises_nothing(school: School, app_with_badges: Litestar) -> None:
    boss = await school.lesson(await school.level(await school.world()), is_boss_battle=True)
    learner, staff = [calling(app_with_badges, person) for person in (await school.person(), await school.instructor())]

    await grade(staff, await create_submission(learner, boss), "rejected")

    assert await get_badges(school) == []


async def test_a_boss_battle_and_the_last_lesson_at_the_same_time_raise_it_once(
    school: School, app_with_badges: Litestar
) -> None:
    learner, staff = [calling(app_with_badges, person) for person in (await school.person(), await school.instructor())]
    for number in range(1, 4):
        world = await school.world(lessons=1)
        [lesson] = await school.lessons_of(world)
        boss = await school.lesson(await school.level(world), is_boss_battle=True)
        submission = await create_submission(learner, boss)

        responses = await asyncio.gather(complete(learner, lesson), grade(staff, submission))

        assert [response.status_code for response in responses] == [200, 200]
        assert len(await get_badges(school)) == number


async def test_a_handler_that_fails_leaves_nothing_of_the_completion(
    school: School, app_with_badges: Litestar, badges: Badges
) -> None:
    """Neither the completion, its XP and its day, nor what the handler stored; later it can be completed."""
    [lesson] = await school.lessons_of(await school.world(lessons=1))
    learner = calling(app_with_badges, await school.person())
    badges.is_failing = True

    failed = await complete(learner, lesson)

    assert failed.status_code == 500
    assert await get_badges(school) == []
    for table in (LessonCompletion, XpEvent, WeeklyXp, ActivityDay):
        assert await school.scalar(sa.select(sa.func.count()).select_from(table)) == 0
    assert (await learner.get("/api/users/me")).json()["xp"] == 0

    badges.is_failing = False
    assert (await complete(learner, lesson)).json()["xp_gained"] == 50
    assert len(await get_badges(school)) == 1


async def test_a_handler_that_fails_leaves_a_boss_battle_pending(
    school: School, app_with_badges: Litestar, badges: Badges
) -> None:
    boss = await school.lesson(await school.level(await school.world()), is_boss_battle=True)
    learner, staff = [calling(app_with_badges, person) for person in (await school.person(), await school.instructor())]
    submission = await create_submission(learner, boss)
    badges.is_failing = True

    assert (await grade(staff, submission)).status_code == 500

    assert await get_badges(school) == []
    assert await school.scalar(sa.select(Submission.status)) == "pending"
    for table in (LessonCompletion, XpEvent):
        assert await school.scalar(sa.select(sa.func.count()).select_from(table)) == 0


async def test_a_world_that_gets_another_lesson_is_completed_again_with_it(
    school: School, app_with_badges: Litestar
) -> None:
    """So a handler that gives something once per world has to store that it did."""
    world = await school.world(lessons=1)
    [lesson] = await school.lessons_of(world)
    learner = calling(app_with_badges, await school.person())
    await complete(learner, lesson)
    later = await school.lesson(await school.level(world))

    await complete(learner, later)

    assert await get_badges(school) == [(learner.user_id, world.id)] * 2
