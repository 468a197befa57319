"""Progress as pure functions."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Protocol, TypeVar
from uuid import UUID

from msgspec import Struct

from mambo.catalogue.rules import percentage_of


class CompletedWorld(Struct, frozen=True):
    """What a learner has completed of a world; the lessons are known of the world of their last completion alone."""

    lesson_count: int
    last_completed_at: datetime
    lesson_ids: list[UUID] | None


class World(Protocol):
    """What decides how far a learner is in a world."""

    @property
    def id(self) -> UUID: ...

    @property
    def lesson_count(self) -> int: ...


WorldT = TypeVar("WorldT", bound=World)


def progress_fields(world: World, completed: int) -> dict[str, Any]:
    """Return the fields of a `WorldProgress`.

    The lessons may be counted a moment later than those completed, so that deleted ones count as completed only.
    """
    completed = min(completed, world.lesson_count)
    return {
        "id": world.id,
        "lesson_count": world.lesson_count,
        "completed_count": completed,
        "progress_percentage": percentage_of(completed, world.lesson_count),
        "is_complete": 0 < world.lesson_count == completed,
    }


def worlds_to_continue(worlds: Iterable[WorldT], completed: Mapping[UUID, CompletedWorld]) -> Sequence[WorldT]:
    """Return the worlds that are not complete, first the one in which the learner completed a lesson last."""

    def last_completed_at(world: World) -> datetime | None:
        return completed[world.id].last_completed_at if world.id in completed else None

    worlds = list(worlds)
    newest = max(filter(None, map(last_completed_at, worlds)), default=None)
    incomplete = [world for world in worlds if completed_count(world.id, completed) < world.lesson_count]
    return sorted(incomplete, key=lambda world: last_completed_at(world) != newest)


def completed_count(world_id: UUID, completed: Mapping[UUID, CompletedWorld]) -> int:
    """Return how many lessons of a world a learner has completed."""
    return completed[world_id].lesson_count if world_id in completed else 0
