"""Questions about courses as one learner sees them."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from mambo.courses.models import Lesson, World, in_course_order
from mambo.db import Repository
from mambo.learning.models import LessonCompletion


def completed_by(user_id: UUID | None) -> sa.ColumnElement[bool]:
    """Joins a lesson to the learner's completion of it; nobody has completed anything."""
    if user_id is None:
        return sa.false()
    return sa.and_(LessonCompletion.lesson_id == Lesson.id, LessonCompletion.user_id == user_id)


IS_COMPLETED = LessonCompletion.lesson_id.is_not(None).label("is_completed")


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
