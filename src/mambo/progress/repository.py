"""Questions about courses as one learner sees them."""

from datetime import datetime
from typing import cast
from uuid import UUID

import sqlalchemy as sa
from msgspec import Struct
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import aliased, load_only
from uuid_utils.compat import uuid7

from mambo.catalogue.repository import REVISION, LessonRow
from mambo.comments.models import Comment
from mambo.courses.models import Lesson, World, in_course_order
from mambo.database.pool import Pool
from mambo.database.repository import Repository
from mambo.database.statements import Statement, param
from mambo.game.models import ActivityReason, XpKind
from mambo.game.repository import Standing, newest_run
from mambo.game.rules import level_of, local_date
from mambo.progress.models import LessonCompletion
from mambo.quizzes.models import QuizAttempt
from mambo.users.models import UserProfile

STANDING = (UserProfile.xp, UserProfile.level, UserProfile.timezone, *newest_run(UserProfile.user_id))


def completed_by(user_id: UUID) -> sa.ColumnElement[bool]:
    """Joins a lesson to the learner's completion of it."""
    return sa.and_(
        LessonCompletion.lesson_id == Lesson.id,
        LessonCompletion.world_id == Lesson.world_id,
        LessonCompletion.user_id == user_id,
    )


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


class WorldProgressRow(Struct, frozen=True):
    """A world with a learner's progress; of `next_lesson`, the first they have not completed, only some is loaded."""

    world: World
    lesson_count: int
    completed_count: int
    last_completed_at: datetime | None
    next_lesson: Lesson | None


USER_ID, WORLD_ID, LESSON_ID = (param(name, sa.Uuid()) for name in ("user_id", "world_id", "lesson_id"))
ONE_ROW = sa.select(REVISION).subquery()
COUNTS = (
    sa.select(LessonCompletion.world_id, sa.func.count().label("completed"))
    .where(LessonCompletion.user_id == USER_ID)
    .group_by(LessonCompletion.world_id)
    .subquery()
)
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
HAS_COMPLETED = sa.exists().where(LessonCompletion.user_id == USER_ID, LessonCompletion.lesson_id == LESSON_ID)
LESSON_STATE = Statement(
    sa.select(
        REVISION,
        HAS_COMPLETED.where(
            LessonCompletion.world_id == sa.select(Lesson.world_id).where(Lesson.id == LESSON_ID).scalar_subquery()
        ),
        sa.exists().where(Comment.lesson_id == LESSON_ID),
    )
)

# A completion is one statement, and so one transaction: the completion, its XP and the active day are stored together.
# `before` is what the learner has done so far. `learner` locks the profile row before anything is stored. It is empty
# if the lesson is completed already, or if the catalogue's revision or the learner's time zone (which decides the day)
# is not the one that the caller knows. The functions see what was committed while the statement waited for the lock.
BEFORE = (
    sa.select(
        REVISION,
        HAS_COMPLETED.where(LessonCompletion.world_id == WORLD_ID).label("is_completed"),
        sa.select(sa.func.count())
        .where(LessonCompletion.user_id == USER_ID, LessonCompletion.world_id == WORLD_ID)
        .scalar_subquery()
        .label("completed_count"),
        sa.exists()
        .where(QuizAttempt.user_id == USER_ID, QuizAttempt.lesson_id == LESSON_ID, QuizAttempt.passed)
        .label("has_passed_quiz"),
        *STANDING,
    )
    .where(UserProfile.user_id == USER_ID)
    .cte("before")
)
LEARNER = (
    sa.select(UserProfile.user_id)
    .where(
        UserProfile.user_id == USER_ID,
        UserProfile.timezone == param("timezone", sa.Text()),
        sa.exists().where(
            ~BEFORE.c.is_completed, BEFORE.c.revision.is_not_distinct_from(param("revision", sa.BigInteger()))
        ),
    )
    .with_for_update(key_share=True)
    .cte("learner")
)
AT = param("at", sa.DateTime(timezone=True))
DONE = (
    insert(LessonCompletion)
    .from_select(
        ["user_id", "world_id", "lesson_id", "completed_at"],
        sa.select(LEARNER.c.user_id, WORLD_ID, LESSON_ID, AT),
    )
    .on_conflict_do_nothing()
    .returning(LessonCompletion.user_id)
    .cte("done")
)
PAYMENT = sa.func.pay_xp(
    param("id", sa.Uuid()), DONE.c.user_id, XpKind.LESSON, LESSON_ID, param("xp_value", sa.Integer()), AT
).table_valued("xp_before", "xp_after")
PAID = (
    sa.select(
        *PAYMENT.c,
        sa.func.count_day(DONE.c.user_id, param("day", sa.Date()), ActivityReason.LESSON),
        sa.func.lessons_completed(DONE.c.user_id, WORLD_ID).label("completed_count"),
    )
    .join_from(DONE, PAYMENT, sa.true())
    .cte("paid")
)
IS_NEW = PAID.c.xp_after.is_not(None)
COMPLETION = Statement(
    sa.select(
        BEFORE.c.revision,
        BEFORE.c.is_completed | IS_NEW,
        IS_NEW,
        sa.func.coalesce(PAID.c.xp_after - PAID.c.xp_before, 0),
        sa.func.coalesce(PAID.c.completed_count, BEFORE.c.completed_count),
        BEFORE.c.has_passed_quiz,
        sa.func.coalesce(PAID.c.xp_after, BEFORE.c.xp),
        BEFORE.c.timezone,
        BEFORE.c.first_day,
        BEFORE.c.last_day,
    ).join_from(BEFORE, PAID, sa.true(), isouter=True)
)


class Completed(Struct, frozen=True):
    """Where a learner stands, in a lesson's world and with its quiz, at a revision of the catalogue.

    `is_new` when it was completed just now, with what was paid for it; `standing` is what came of that.
    """

    revision: int | None
    is_completed: bool
    is_new: bool
    paid: int
    completed_count: int
    has_passed_quiz: bool
    standing: Standing


class ProgressRepository:
    """What a learner has done: one statement a question, which tells the catalogue's revision of the same moment."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def get_counts(self, user_id: UUID) -> tuple[int | None, dict[UUID, int]]:
        """How many lessons the learner has completed of each world."""
        rows = await self._pool.fetch_all(COMPLETED_COUNTS, user_id=user_id)
        return rows[0]["revision"], {world_id: completed for _, world_id, completed in rows if world_id is not None}

    async def get_completed(self, user_id: UUID, world_id: UUID) -> tuple[int | None, set[UUID]]:
        """The lessons of a world that the learner has completed."""
        revision, ids = await self._pool.fetch_one(COMPLETED_LESSONS, user_id=user_id, world_id=world_id)
        return revision, set(ids or ())

    async def get_lesson_state(self, user_id: UUID, lesson_id: UUID) -> tuple[int | None, bool, bool]:
        """Whether the learner has completed a lesson, and whether anyone has said something about it."""
        row = await self._pool.fetch_one(LESSON_STATE, user_id=user_id, lesson_id=lesson_id)
        return cast("tuple[int | None, bool, bool]", row)

    async def complete(
        self, user_id: UUID, lesson: LessonRow, *, revision: int | None, timezone: str, at: datetime
    ) -> Completed:
        """Store that the learner has completed a lesson, with its XP and the day.

        Nothing is stored when it was completed before, the catalogue's revision is another one or the learner lives in
        another time zone.
        """
        day = local_date(at, timezone)
        row = await self._pool.fetch_one(
            COMPLETION,
            id=uuid7(),
            user_id=user_id,
            lesson_id=lesson.id,
            world_id=lesson.world_id,
            revision=revision,
            timezone=timezone,
            xp_value=lesson.xp_value,
            at=at,
            day=day,
        )
        seen, is_completed, is_new, paid, completed_count, has_passed_quiz, xp, zone, first_day, last_day = row
        standing = Standing(xp, level_of(xp), zone, first_day, last_day)
        if is_new:
            standing = standing.active_on(day)
        return Completed(seen, is_completed, is_new, paid, completed_count, has_passed_quiz, standing)


class CompletionRepository(Repository[LessonCompletion]):
    """Courses with a learner's own progress: one statement a question, whatever the size of the course."""

    model_type = LessonCompletion

    async def complete(self, user_id: UUID, lesson_id: UUID, at: datetime) -> bool:
        """Store that the learner has completed the lesson; False when that was stored before."""
        row = sa.select(sa.literal(user_id), Lesson.world_id, Lesson.id, sa.literal(at)).where(Lesson.id == lesson_id)
        query = insert(LessonCompletion).from_select(["user_id", "world_id", "lesson_id", "completed_at"], row)
        once = query.on_conflict_do_nothing().returning(LessonCompletion.lesson_id)
        return await self.session.scalar(once) is not None

    async def get_totals(self, user_id: UUID) -> tuple[Standing, int]:
        """Where the learner stands, and how many lessons they have completed, in whatever course."""
        completed = sa.select(sa.func.count()).where(LessonCompletion.user_id == user_id).scalar_subquery()
        query = sa.select(*STANDING, completed).where(UserProfile.user_id == user_id)
        *standing, completed_count = (await self.session.execute(query)).one()
        return Standing(*standing), completed_count

    async def get_stages(self, user_id: UUID) -> list[WorldProgressRow]:
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
        return [WorldProgressRow(*row) for row in await self.session.execute(query)]
