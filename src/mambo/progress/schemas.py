"""Bodies of responses about progress."""

from uuid import UUID

from msgspec import field

from mambo.web.schemas import Output


class WorldProgress(Output):
    """How far a learner is in a course. A course without lessons is never complete."""

    id: UUID
    lesson_count: int
    completed_count: int
    progress_percentage: float
    is_complete: bool


class Completion(Output):
    """The result of completing a lesson. A second completion pays nothing and returns the same totals.

    `quiz_passed` says whether the learner has passed the lesson's quiz, and is null where there is none.
    """

    xp_gained: int
    new_total_xp: int
    leveled_up: bool
    new_level: int
    newly_completed: bool
    streak_count: int
    next_lesson_id: UUID | None
    quiz_passed: bool | None
    world: WorldProgress


class WorldStage(WorldProgress, kw_only=True):
    """A course in the list of a learner's progress."""

    title: str
    slug: str
    image_url: str | None
    thumbnail_url: str | None
    is_locked: bool


class NextLesson(Output):
    """The lesson to continue with."""

    lesson_id: UUID
    title: str
    world_id: UUID
    world_title: str
    thumbnail_url: str | None
    duration_minutes: int | None


class Progress(Output):
    """How far a learner is: totals, and the published courses in order.

    `xp_of_level` and `xp_of_next_level` are the totals at which the level began and the next one begins. `continue` is
    null when every course that is open to the learner is complete.
    """

    xp: int
    level: int
    xp_of_level: int
    xp_of_next_level: int
    streak_count: int
    lessons_completed: int
    worlds: list[WorldStage]
    next_lesson: NextLesson | None = field(name="continue")
