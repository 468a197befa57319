"""Stores completions of lessons, and reads what a learner has completed."""

from collections.abc import Sequence
from datetime import date, datetime
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from msgspec import Struct
from msgspec.structs import asdict
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession
from uuid_utils.compat import uuid7

from mambo.catalogue.repository import REVISION
from mambo.courses.models import Lesson
from mambo.database.pool import Pool
from mambo.database.repository import Repository
from mambo.database.statements import Statement, param
from mambo.game.models import ActivityReason, XpKind
from mambo.game.repository import Standing, newest_run
from mambo.game.rules import level_of, local_date
from mambo.progress.models import LessonCompletion
from mambo.progress.rules import CompletedWorld
from mambo.quizzes.models import QuizAttempt
from mambo.users.models import UserProfile
from mambo.web.schemas import INT4_MAX

STANDING = (UserProfile.xp, UserProfile.level, UserProfile.timezone, *newest_run(UserProfile.user_id))
USER_ID, WORLD_ID, LESSON_ID = (param(name, sa.Uuid()) for name in ("user_id", "world_id", "lesson_id"))

# A completion is one statement, and so one transaction: the completion, its XP and the active day are stored together.
# `before` is what the learner has done so far. `learner` locks the profile row before anything is stored. It is empty
# if the lesson is completed already, or if the catalogue's revision or the learner's time zone (which decides the day)
# is not the one that the caller knows. The functions see what was committed while the statement waited for the lock.
# `counted` is how many lessons of the world the learner has completed by then. Nothing is stored if they have reached a
# limit: the lesson that completes a world is stored in a longer transaction, which also handles that event.
BEFORE = (
    sa.select(
        REVISION,
        sa.exists()
        .where(
            LessonCompletion.user_id == USER_ID,
            LessonCompletion.world_id == WORLD_ID,
            LessonCompletion.lesson_id == LESSON_ID,
        )
        .label("is_completed"),
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
COUNTED = sa.select(
    LEARNER.c.user_id, sa.func.lessons_completed(LEARNER.c.user_id, WORLD_ID).label("completed_count")
).cte("counted")
IS_AT_LIMIT = COUNTED.c.completed_count >= param("limit", sa.Integer())
AT = param("at", sa.DateTime(timezone=True))
DONE = (
    insert(LessonCompletion)
    .from_select(
        ["user_id", "world_id", "lesson_id", "completed_at"],
        sa.select(COUNTED.c.user_id, WORLD_ID, LESSON_ID, AT).where(~IS_AT_LIMIT),
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
        sa.func.count_day(DONE.c.user_id, param("day", sa.Date()), ActivityReason.LESSON).label("day"),
    )
    .join_from(DONE, PAYMENT, sa.true())
    .cte("paid")
)
IS_NEW = PAID.c.xp_after.is_not(None)
COMPLETE = (
    sa.select(
        BEFORE.c.revision,
        BEFORE.c.is_completed | IS_NEW,
        IS_NEW,
        sa.func.coalesce(IS_AT_LIMIT, sa.false()),
        sa.func.coalesce(PAID.c.xp_after - PAID.c.xp_before, 0),
        sa.case((IS_NEW, COUNTED.c.completed_count + 1), else_=BEFORE.c.completed_count),
        BEFORE.c.has_passed_quiz,
        sa.func.coalesce(PAID.c.xp_after, BEFORE.c.xp),
        BEFORE.c.timezone,
        BEFORE.c.first_day,
        BEFORE.c.last_day,
    )
    .join_from(BEFORE, COUNTED, sa.true(), isouter=True)
    .outerjoin(PAID, sa.true())
)
COMPLETE_ALONE = Statement(COMPLETE)

# Materialized, because PostgreSQL would otherwise search the newest run of active days again for each world.
LEARNER_STANDING = (
    sa.select(REVISION, *STANDING).where(UserProfile.user_id == USER_ID).cte("standing").prefix_with("MATERIALIZED")
)
COUNTS = (
    sa.select(
        LessonCompletion.world_id,
        sa.func.count().label("lesson_count"),
        sa.func.max(LessonCompletion.completed_at).label("last_completed_at"),
    )
    .where(LessonCompletion.user_id == USER_ID)
    .group_by(LessonCompletion.world_id)
    .subquery()
)
# Read for the world of the last completion alone, because a learner may have completed many thousands of lessons.
LESSON_IDS = (
    sa.select(sa.func.array_agg(LessonCompletion.lesson_id))
    .where(LessonCompletion.user_id == USER_ID, LessonCompletion.world_id == COUNTS.c.world_id)
    .scalar_subquery()
)
IS_CURRENT = COUNTS.c.last_completed_at == sa.func.max(COUNTS.c.last_completed_at).over()
PROGRESS = Statement(
    sa.select(*LEARNER_STANDING.c, *COUNTS.c, sa.case((IS_CURRENT, LESSON_IDS))).join_from(
        LEARNER_STANDING, COUNTS, sa.true(), isouter=True
    )
)


class Attempt(Struct, frozen=True):
    """A learner completes a lesson.

    It is stored only if `revision` and `timezone` are those of the catalogue and the learner, because the caller has
    decided by them whether the learner may, what it pays, and which day counts.
    """

    user_id: UUID
    world_id: UUID
    lesson_id: UUID
    xp_value: int
    revision: int | None
    timezone: str
    at: datetime

    @property
    def day(self) -> date:
        return local_date(self.at, self.timezone)

    def parameters(self, limit: int) -> dict[str, Any]:
        """Return the parameters of `COMPLETE`."""
        return asdict(self) | {"id": uuid7(), "day": self.day, "limit": limit}


class Attempted(Struct, frozen=True):
    """What came of an attempt, and where the learner stands.

    `is_new` if the lesson was completed now, and `paid` is the XP for it. `is_at_limit` if nothing was stored because
    the learner had completed as many lessons of the world as the limit. `revision` and the time zone of `standing` are
    those of the database.
    """

    revision: int | None
    is_completed: bool
    is_new: bool
    is_at_limit: bool
    paid: int
    completed_count: int
    has_passed_quiz: bool
    standing: Standing


class LearnerProgress(Struct, frozen=True):
    """Where a learner stands, and what they have completed, at a revision of the catalogue."""

    revision: int | None
    standing: Standing
    worlds: dict[UUID, CompletedWorld]


class ProgressRepository:
    """Completes lessons and reads progress, each with one statement on the pool."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def complete(self, attempt: Attempt, *, limit: int) -> Attempted:
        """Complete a lesson if the learner has completed fewer lessons of its world than `limit`."""
        return attempted(await self._pool.fetch_one(COMPLETE_ALONE, **attempt.parameters(limit)), attempt.day)

    async def get_progress(self, user_id: UUID) -> LearnerProgress:
        rows = await self._pool.fetch_all(PROGRESS, user_id=user_id)
        revision, *standing = rows[0][:-4]
        worlds = {row["world_id"]: CompletedWorld(*row[-3:]) for row in rows if row["world_id"] is not None}
        return LearnerProgress(revision, Standing(*standing), worlds)


class CompletionRepository(Repository[LessonCompletion]):
    """Completions in the transaction of a session."""

    model_type = LessonCompletion
    session: AsyncSession

    async def complete(self, attempt: Attempt) -> Attempted:
        """Complete a lesson, as `ProgressRepository` does."""
        row = (await self.session.execute(COMPLETE, attempt.parameters(INT4_MAX))).one()
        return attempted(row, attempt.day)

    async def add_once(self, user_id: UUID, lesson_id: UUID, at: datetime) -> UUID | None:
        """Store a completion, and return the lesson's world; None if it is stored already."""
        row = sa.select(sa.literal(user_id), Lesson.world_id, Lesson.id, sa.literal(at)).where(Lesson.id == lesson_id)
        query = insert(LessonCompletion).from_select(["user_id", "world_id", "lesson_id", "completed_at"], row)
        return await self.session.scalar(query.on_conflict_do_nothing().returning(LessonCompletion.world_id))

    async def is_world_complete(self, user_id: UUID, world_id: UUID) -> bool:
        """Return whether the learner has completed every lesson of the world."""
        is_completed = sa.exists().where(
            LessonCompletion.user_id == user_id,
            LessonCompletion.world_id == world_id,
            LessonCompletion.lesson_id == Lesson.id,
        )
        missing = sa.exists().where(Lesson.world_id == world_id, ~is_completed)
        return not await self.session.scalar(sa.select(missing))


def attempted(row: Sequence[Any], day: date) -> Attempted:
    """Return the row of `COMPLETE` as a struct; `day` is the one that counts if the completion is new."""
    revision, is_completed, is_new, is_at_limit, paid, completed_count, has_passed_quiz, xp, *rest = row
    standing = Standing(xp, level_of(xp), *rest)
    if is_new:
        standing = standing.active_on(day)
    return Attempted(revision, is_completed, is_new, is_at_limit, paid, completed_count, has_passed_quiz, standing)
