"""Courses and lessons as a visitor sees them."""

from uuid import UUID

from mambo.comments.schemas import CommentView
from mambo.courses.models import Difficulty
from mambo.courses.schemas import LessonContent, LessonFields
from mambo.web.schemas import Output


class WorldView(Output):
    """A course with the visitor's own progress, in percent, and lock."""

    id: UUID
    title: str
    description: str | None
    slug: str
    image_url: str | None
    thumbnail_url: str | None
    difficulty: Difficulty
    is_free: bool
    lesson_count: int
    progress_percentage: float
    is_locked: bool


class LessonView(LessonFields):
    """A lesson in a list. A locked one shows neither content nor video."""

    video_url: str
    is_completed: bool
    is_locked: bool
    content_json: LessonContent | None


class LessonDetail(LessonView):
    """A lesson with its neighbours in the course, and the newest comments on it."""

    world_id: UUID
    next_lesson_id: UUID | None
    prev_lesson_id: UUID | None
    comments: list[CommentView]
