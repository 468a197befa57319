"""Worlds have levels, and levels have lessons."""

from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from mambo.courses.rules import Difficulty as Difficulty
from mambo.database.base import Base, Identified, one_of


class World(Identified):
    """A course."""

    __tablename__ = "world"
    __table_args__ = (
        sa.UniqueConstraint("slug", info={"problem": "Another course has this slug already: choose a different one."}),
    )

    title: Mapped[str]
    description: Mapped[str | None]
    slug: Mapped[str]
    order_index: Mapped[int]
    is_free: Mapped[bool] = mapped_column(default=False)
    is_published: Mapped[bool] = mapped_column(default=False)
    image_url: Mapped[str | None]
    thumbnail_url: Mapped[str | None]
    difficulty: Mapped[Difficulty] = mapped_column(one_of(Difficulty))


class Level(Identified):
    """A part of a course."""

    __tablename__ = "level"
    __table_args__ = (sa.UniqueConstraint("world_id", "id", name="uq_level_world_id_id"),)

    world_id: Mapped[UUID] = mapped_column(sa.ForeignKey("world.id", ondelete="CASCADE"))
    title: Mapped[str]
    order_index: Mapped[int]


class Lesson(Identified):
    """A lesson. It refers to its world and its level, and a foreign key makes sure that they belong together.

    `mux_playback_id`, `mux_asset_id` and `duration_seconds` describe its video at Mux. Only updates from Mux set them.
    """

    __tablename__ = "lesson"
    __table_args__ = (
        sa.ForeignKeyConstraint(
            ["world_id", "level_id"],
            ["level.world_id", "level.id"],
            name="fk_lesson_level",
            ondelete="CASCADE",
            info={"problem": "This level is not part of the course, or is gone: choose one of the course's levels."},
        ),
        sa.UniqueConstraint("world_id", "id", name="uq_lesson_world_id_id"),
        sa.Index("ix_lesson_world_id_level_id", "world_id", "level_id"),
        sa.CheckConstraint("xp_value >= 0", name="xp_value_not_negative"),
    )

    world_id: Mapped[UUID]
    level_id: Mapped[UUID]
    title: Mapped[str]
    description: Mapped[str | None]
    video_url: Mapped[str | None]
    xp_value: Mapped[int] = mapped_column(default=50)
    order_index: Mapped[int]
    week_number: Mapped[int | None]
    day_number: Mapped[int | None]
    is_boss_battle: Mapped[bool] = mapped_column(default=False)
    duration_minutes: Mapped[int | None]
    thumbnail_url: Mapped[str | None]
    content_json: Mapped[dict[str, Any] | None]
    mux_playback_id: Mapped[str | None]
    mux_asset_id: Mapped[str | None]
    duration_seconds: Mapped[float | None]


class CatalogueRevision(Base):
    """The revision of all courses together: it differs after each transaction that changed a course or lesson.

    `note_catalogue_change()` writes it, and the revision of each changed course.
    """

    __tablename__ = "catalogue_revision"
    __table_args__ = (sa.CheckConstraint("is_only", name="is_only"),)

    is_only: Mapped[bool] = mapped_column(primary_key=True, server_default=sa.true())
    revision: Mapped[int] = mapped_column(sa.BigInteger)


class CourseRevision(Base):
    """The revision of one course: it differs after each transaction that changed the course or a lesson of it.

    There is no foreign key, because its locks on the course would be taken after that of `catalogue_revision`.
    """

    __tablename__ = "course_revision"

    world_id: Mapped[UUID] = mapped_column(primary_key=True)
    revision: Mapped[int] = mapped_column(sa.BigInteger)


def in_course_order() -> tuple[sa.SQLColumnExpression[Any], ...]:
    """Return the order of lessons in a course: week, day, position, then id; a missing week or day comes first."""
    return (
        Lesson.week_number.asc().nulls_first(),
        Lesson.day_number.asc().nulls_first(),
        Lesson.order_index,
        Lesson.id,
    )
