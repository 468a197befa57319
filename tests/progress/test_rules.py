"""The rules of progress alone."""

from datetime import UTC, datetime
from uuid import UUID

import pytest
from msgspec import Struct

from mambo.catalogue.rules import percentage_of
from mambo.progress.rules import CompletedWorld, completed_count, progress_fields, worlds_to_continue


class World(Struct, frozen=True):
    id: UUID
    lesson_count: int


ONE, TWO, THREE = (World(UUID(int=number), 2) for number in (1, 2, 3))
WORLDS = [ONE, TWO, THREE]
EMPTY = World(UUID(int=9), 0)


def done(count: int, day: int) -> CompletedWorld:
    return CompletedWorld(count, datetime(2026, 3, day, tzinfo=UTC), None)


@pytest.mark.parametrize(
    ("completed", "lesson_count", "percentage"),
    [(0, 0, 0.0), (1, 0, 0.0), (0, 3, 0.0), (1, 3, 33.3), (2, 3, 66.7), (3, 3, 100.0), (4, 3, 100.0)],
)
def test_a_percentage_has_one_decimal_and_is_at_most_100(completed: int, lesson_count: int, percentage: float) -> None:
    assert percentage_of(completed, lesson_count) == percentage


def test_deleted_lessons_do_not_count_as_completed() -> None:
    """Completions are counted by a statement of their own, a moment before the lessons."""
    fields = progress_fields(World(UUID(int=1), 3), 4)

    assert (fields["completed_count"], fields["progress_percentage"], fields["is_complete"]) == (3, 100.0, True)


def test_a_world_without_lessons_is_never_complete() -> None:
    assert progress_fields(EMPTY, 0)["is_complete"] is False


def test_a_learner_who_has_completed_nothing_begins_with_the_first_world() -> None:
    assert worlds_to_continue(WORLDS, {}) == WORLDS


def test_a_learner_continues_in_the_world_of_the_last_completion_and_then_in_order() -> None:
    completed = {ONE.id: done(1, day=1), THREE.id: done(1, day=2)}

    assert worlds_to_continue(WORLDS, completed) == [THREE, ONE, TWO]


def test_complete_and_empty_worlds_have_no_lesson_to_continue_with() -> None:
    """The last completion was in a complete one: the others are in order."""
    assert worlds_to_continue([*WORLDS, EMPTY], {TWO.id: done(2, day=2), THREE.id: done(1, day=1)}) == [ONE, THREE]


def test_a_world_that_is_not_in_the_list_is_ignored() -> None:
    """Such as one that is locked: the last completion counts among the others."""
    completed = {ONE.id: done(1, day=3), TWO.id: done(1, day=1), THREE.id: done(1, day=2)}

    assert worlds_to_continue([TWO, THREE], completed) == [THREE, TWO]


def test_lessons_are_counted_by_world() -> None:
    assert [completed_count(world.id, {ONE.id: done(2, day=1)}) for world in (ONE, TWO)] == [2, 0]
