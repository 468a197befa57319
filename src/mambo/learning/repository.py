"""Questions about courses as one learner sees them."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from litestar.di import NamedDependency
from msgspec import Struct
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased, load_only

from mambo.courses.models import Lesson, World, in_course_order
from mambo.db import Repository
from mambo.game.models import ActivityDay
from mambo.game.repository import Standing, newest_run
from mambo.learning.models import LessonCompletion
from mambo.learning.schemas import DayCount, Stats
from mambo.quizzes.models import QuizAttempt
from mambo.users.models import User, UserProfile

STATS_DAYS = 30


def completed_by(user_id: UUID | None) -> sa.ColumnElement[bool]:
    """Joins a lesson to the learner's completion of it; nobody has completed anything."""
    if user_id is None:
        return sa.false()
    return sa.and_(LessonCompletion.lesson_id == Lesson.id, LessonCompletion.user_id == user_id)


def standing_with(user_id: UUID, *columns: Any) -> sa.Select[Any]:  # noqa: ANN401 - columns of any type
    """Where a learner stands, in the order of `Standing`, and `columns` beside it."""
    standing = (UserProfile.xp, UserProfile.level, UserProfile.timezone, *newest_run(UserProfile.user_id))
    return sa.select(*standing, *columns).where(UserProfile.user_id == user_id)


def progress_in(world_id: UUID | sa.orm.InstrumentedAttribute[UUID], user_id: UUID) -> sa.Select[int, int, datetime]:
    """How many lessons a world has, how many of them the learner has completed, and when the last."""
    return (
        sa.select(
            sa.func.count(Lesson.id).label("lesson_count"),
            sa.func.count(LessonCompletion.lesson_id).label("completed_count"),
            sa.func.max(LessonCompletion.completed_at).label("last_completed_at"),
        )
        .outerjoin(LessonCompletion, completed_by(user_id))
        .where(Lesson.world_id == world_id)
    )


IS_COMPLETED = LessonCompletion.lesson_id.is_not(None).label("is_completed")


class Outcome(Struct, frozen=True):
    """Where a learner stands, also in a lesson's world and with its quiz."""

    standing: Standing
    lesson_count: int
    completed_count: int
    has_passed_quiz: bool


class Stage(Struct, frozen=True):
    """A world with a learner's progress; of `next_lesson`, the first they have not completed, only some is loaded."""

    world: World
    lesson_count: int
    completed_count: int
    last_completed_at: datetime | None
    next_lesson: Lesson | None


class CatalogueRepository(Repository[LessonCompletion]):
    """Courses with a learner's own progress: one statement a question, whatever the size of the course."""

    model_type = LessonCompletion

    async def get_worlds(self, user_id: UUID | None) -> Sequence[sa.Row[World, int, int]]:
        """Published worlds in order, with the number of lessons and of those the learner has completed."""
        query = (
            sa.select(World, sa.func.count(Lesson.id), sa.func.count(LessonCompletion.lesson_id))
            .outerjoin(Lesson, Lesson.world_id == World.id)
            .outerjoin(LessonCompletion, completed_by(user_id))
            .where(World.is_published)
            .group_by(World.id)
            .order_by(World.order_index, World.id)
        )
        return (await self.session.execute(query)).all()

    async def get_world_lessons(self, world_id: UUID, user_id: UUID | None) -> Sequence[sa.Row[World, Lesson, bool]]:
        """The world beside each lesson in order, or beside None when it has none; nothing when it does not exist."""
        query = (
            sa.select(World, Lesson, IS_COMPLETED)
            .outerjoin(Lesson, Lesson.world_id == World.id)
            .outerjoin(LessonCompletion, completed_by(user_id))
            .where(World.id == world_id)
            .order_by(*in_course_order())
        )
        return (await self.session.execute(query)).all()

    async def get_lesson(self, lesson_id: UUID, user_id: UUID) -> sa.Row[Any] | None:
        """The lesson and its world, whether the learner has completed it, and its neighbours across levels."""
        world_of_lesson = sa.select(Lesson.world_id).where(Lesson.id == lesson_id).scalar_subquery()
        order = sa.select(
            Lesson.id,
            sa.func.lag(Lesson.id).over(order_by=in_course_order()).label("prev_lesson_id"),
            sa.func.lead(Lesson.id).over(order_by=in_course_order()).label("next_lesson_id"),
        )
        neighbours = order.where(Lesson.world_id == world_of_lesson).subquery()
        query = (
            sa.select(Lesson, World, IS_COMPLETED, neighbours.c.prev_lesson_id, neighbours.c.next_lesson_id)
            .join(World, World.id == Lesson.world_id)
            .join(neighbours, neighbours.c.id == Lesson.id)
            .outerjoin(LessonCompletion, completed_by(user_id))
            .where(Lesson.id == lesson_id)
        )
        return (await self.session.execute(query)).one_or_none()

    async def complete(self, user_id: UUID, lesson_id: UUID, at: datetime) -> bool:
        """Store that the learner has completed the lesson; False when that was stored before."""
        query = (
            insert(LessonCompletion)
            .values(user_id=user_id, lesson_id=lesson_id, completed_at=at)
            .on_conflict_do_nothing()
            .returning(LessonCompletion.lesson_id)
        )
        return await self.session.scalar(query) is not None

    async def get_outcome(self, user_id: UUID, lesson: Lesson) -> Outcome:
        """What there is to tell a learner who has completed the lesson.

        Asked by one whose profile is locked, it misses nothing: of a world's last two lessons, completed at once, the
        later knows of both.
        """
        in_world = progress_in(lesson.world_id, user_id).subquery()
        has_passed = sa.exists().where(
            QuizAttempt.user_id == user_id, QuizAttempt.lesson_id == lesson.id, QuizAttempt.passed
        )
        columns = (in_world.c.lesson_count, in_world.c.completed_count, has_passed)
        query = standing_with(user_id, *columns).join(in_world, sa.true())
        *standing, lesson_count, completed_count, has_passed_quiz = (await self.session.execute(query)).one()
        return Outcome(Standing(*standing), lesson_count, completed_count, has_passed_quiz)

    async def get_totals(self, user_id: UUID) -> tuple[Standing, int]:
        """Where the learner stands, and how many lessons they have completed, in whatever course."""
        completed = sa.select(sa.func.count()).where(LessonCompletion.user_id == user_id).scalar_subquery()
        *standing, completed_count = (await self.session.execute(standing_with(user_id, completed))).one()
        return Standing(*standing), completed_count

    async def get_stages(self, user_id: UUID) -> list[Stage]:
        """Published worlds in order, each with the learner's progress."""
        progress = progress_in(World.id, user_id).correlate(World).lateral()
        not_completed = (
            sa.select(Lesson)
            .outerjoin(LessonCompletion, completed_by(user_id))
            .where(Lesson.world_id == World.id, LessonCompletion.lesson_id.is_(None))
            .order_by(*in_course_order())
            .limit(1)
            .correlate(World)
            .lateral()
        )
        first = aliased(Lesson, not_completed)
        query = (
            sa.select(World, *progress.c, first)
            .select_from(World)
            .join(progress, sa.true())
            .outerjoin(first, sa.true())
            .where(World.is_published)
            .order_by(World.order_index, World.id)
            .options(load_only(first.title, first.thumbnail_url, first.duration_minutes, first.duration_seconds))
        )
        return [Stage(*row) for row in await self.session.execute(query)]

    async def is_anyone_in(self, world_id: UUID) -> bool:
        """Whether learners have progress in the course; none is added until this transaction ends.

        The course is locked before its lessons, as by everyone else.
        """
        await self.session.execute(sa.select(World.id).where(World.id == world_id).with_for_update())
        await self.session.execute(sa.select(Lesson.id).where(Lesson.world_id == world_id).with_for_update())
        completions = (
            sa.select(LessonCompletion)
            .join(Lesson, Lesson.id == LessonCompletion.lesson_id)
            .where(Lesson.world_id == world_id)
        )
        return bool(await self.session.scalar(sa.select(completions.exists())))

    async def delete_world(self, world_id: UUID) -> bool:
        """Delete a course with all that is in it; False when it does not exist."""
        return await self.session.scalar(sa.delete(World).where(World.id == world_id).returning(World.id)) is not None


class StatsRepository:
    """Counts over everyone."""

    def __init__(self, session: AsyncSession) -> None:
        self.session = session

    async def get(self, now: datetime) -> Stats:
        """Count accounts, and of the last 30 days active learners and completions; there are no submissions yet."""
        since = now - timedelta(days=STATS_DAYS)
        users = sa.select(sa.func.count()).select_from(User).scalar_subquery()
        active = (
            sa.select(sa.func.count(ActivityDay.user_id.distinct()))
            .where(ActivityDay.local_date > since.date())
            .scalar_subquery()
        )
        total_users, active_learners = (await self.session.execute(sa.select(users, active))).one()
        day = sa.cast(sa.func.timezone("UTC", LessonCompletion.completed_at), sa.Date)
        per_day = (
            sa.select(day, sa.func.count()).where(LessonCompletion.completed_at > since).group_by(day).order_by(day)
        )
        return Stats(
            total_users=total_users,
            total_submissions=0,
            pending_submissions=0,
            active_learners=active_learners,
            completions_by_day=[
                DayCount(date=day.isoformat(), completions=count) for day, count in await self.session.execute(per_day)
            ],
        )


async def provide_stats(session: NamedDependency[AsyncSession]) -> StatsRepository:
    return StatsRepository(session)
