"""Bodies of requests and responses about courses, levels and lessons."""

from typing import Annotated, Literal
from uuid import UUID

from msgspec import UNSET, Meta, Struct, UnsetType, field

from mambo.courses.rules import Difficulty, minutes_of
from mambo.web.schemas import END, STORABLE, Input, Output, Position, RequiredLine, Text, Url

Slug = Annotated[
    str, Meta(min_length=1, max_length=80, pattern=r"^[a-z0-9]+(-[a-z0-9]+)*" + END, examples=["mambo-foundations"])
]
UrlOrNothing = Annotated[str, Meta(max_length=2048, pattern=r"^(https?://[^\s\u0000-\u001f]+)?" + END)]
Xp = Annotated[int, Meta(ge=0, le=100_000)]
Minutes = Annotated[int, Meta(ge=0, le=1440)]
WeekOrDay = Annotated[int, Meta(ge=0, le=1000)]


class ContentPart(Struct, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A part of a lesson's content; fields that were not sent are left out of responses."""


class QuizOption(ContentPart):
    """One option of a question; `isCorrect` is for staff only."""

    text: Annotated[str, Meta(min_length=1, max_length=1000, pattern=STORABLE)]
    is_correct: bool | UnsetType = field(default=UNSET, name="isCorrect")


class QuizQuestion(ContentPart):
    """One question; `explanation` is for staff, and for learners after an attempt."""

    id: Annotated[str, Meta(min_length=1, max_length=64, pattern=STORABLE)]
    question: Annotated[str, Meta(min_length=1, max_length=2000, pattern=STORABLE)]
    options: Annotated[list[QuizOption], Meta(min_length=2, max_length=10)]
    explanation: Text | None | UnsetType = UNSET


class TextBlock(ContentPart, tag_field="type", tag="text"):
    """Markdown or plain text."""

    content: Text
    format: Literal["markdown", "plain"] | UnsetType = UNSET
    id: Text | UnsetType = UNSET


class ImageBlock(ContentPart, tag_field="type", tag="image"):
    """An image."""

    url: Url
    alt: Text | UnsetType = UNSET
    caption: Text | UnsetType = UNSET
    id: Text | UnsetType = UNSET


class VideoBlock(ContentPart, tag_field="type", tag="video"):
    """Another video, by URL or by Mux playback id."""

    url: Url | UnsetType = UNSET
    mux_playback_id: Text | UnsetType = UNSET
    caption: Text | UnsetType = UNSET
    id: Text | UnsetType = UNSET


class LessonContent(ContentPart):
    """The content of a lesson beside its video."""

    notes: Text | UnsetType = UNSET
    quiz: Annotated[list[QuizQuestion], Meta(max_length=50)] | UnsetType = UNSET
    blocks: Annotated[list[TextBlock | ImageBlock | VideoBlock], Meta(max_length=100)] | UnsetType = UNSET


class CourseCreate(Input):
    """A new course; it is a draft unless `is_published` is set."""

    title: RequiredLine
    slug: Slug
    order_index: Position
    difficulty: Difficulty
    description: Text | None = None
    is_free: bool = False
    is_published: bool = False
    image_url: UrlOrNothing | None = None
    thumbnail_url: UrlOrNothing | None = None


class CourseChange(Input):
    """Changes to a course; absent means unchanged."""

    title: RequiredLine | UnsetType = UNSET
    slug: Slug | UnsetType = UNSET
    order_index: Position | UnsetType = UNSET
    difficulty: Difficulty | UnsetType = UNSET
    description: Text | None | UnsetType = UNSET
    is_free: bool | UnsetType = UNSET
    is_published: bool | UnsetType = UNSET
    image_url: UrlOrNothing | None | UnsetType = UNSET
    thumbnail_url: UrlOrNothing | None | UnsetType = UNSET


class LevelCreate(Input):
    """A new level; `world_id` is sent by the first web client, and must be the course in the URL."""

    title: RequiredLine
    order_index: Position
    world_id: UUID | UnsetType = UNSET


class LevelChange(Input):
    """Changes to a level; absent means unchanged."""

    title: RequiredLine | UnsetType = UNSET
    order_index: Position | UnsetType = UNSET
    world_id: UUID | UnsetType = UNSET


class LessonCreate(Input):
    """A new lesson; without `level_id` it is added to the course's first level. Mux ids are accepted and ignored."""

    title: RequiredLine
    order_index: Position
    description: Text | None = None
    level_id: UUID | None = None
    video_url: UrlOrNothing | None = None
    xp_value: Xp = 50
    week_number: WeekOrDay | None = None
    day_number: WeekOrDay | None = None
    is_boss_battle: bool = False
    duration_minutes: Minutes | None = None
    content_json: LessonContent | None = None
    thumbnail_url: UrlOrNothing | None = None
    mux_playback_id: str | None = None
    mux_asset_id: str | None = None


class LessonChange(Input):
    """Changes to a lesson; absent means unchanged, `delete_video` removes the video. Mux ids are ignored."""

    title: RequiredLine | UnsetType = UNSET
    order_index: Position | UnsetType = UNSET
    description: Text | None | UnsetType = UNSET
    level_id: UUID | UnsetType = UNSET
    video_url: UrlOrNothing | None | UnsetType = UNSET
    xp_value: Xp | UnsetType = UNSET
    week_number: WeekOrDay | None | UnsetType = UNSET
    day_number: WeekOrDay | None | UnsetType = UNSET
    is_boss_battle: bool | UnsetType = UNSET
    duration_minutes: Minutes | None | UnsetType = UNSET
    content_json: LessonContent | None | UnsetType = UNSET
    thumbnail_url: UrlOrNothing | None | UnsetType = UNSET
    mux_playback_id: str | None | UnsetType = UNSET
    mux_asset_id: str | None | UnsetType = UNSET
    delete_video: bool = False


class LessonPlace(Input):
    """The place of a lesson in its course."""

    lesson_id: UUID
    level_id: UUID
    week_number: WeekOrDay | None
    day_number: WeekOrDay | None
    order_index: Position


class CourseOut(Output):
    """A course as an admin sees it."""

    id: UUID
    title: str
    description: str | None
    slug: str
    order_index: int
    is_free: bool
    is_published: bool
    image_url: str | None
    thumbnail_url: str | None
    difficulty: Difficulty
    lesson_count: int
    progress_percentage: float = 0
    is_locked: bool = False


class LevelOut(Output):
    """A level."""

    id: UUID
    title: str
    order_index: int


class LessonFields(Output):
    """The fields of a lesson that have the same name and type in its table, in the catalogue and in every response."""

    id: UUID
    level_id: UUID
    title: str
    description: str | None
    xp_value: int
    order_index: int
    week_number: int | None
    day_number: int | None
    is_boss_battle: bool
    duration_minutes: int | None
    thumbnail_url: str | None
    mux_playback_id: str | None
    mux_asset_id: str | None


class LessonOut(LessonFields):
    """A lesson as an admin sees it; without `duration_minutes` of its own, it has those of its Mux video."""

    world_id: UUID
    video_url: str
    content_json: LessonContent | None
    duration_seconds: float | None

    def __post_init__(self) -> None:
        self.duration_minutes = minutes_of(self.duration_minutes, self.duration_seconds)


class LevelDetails(LevelOut, kw_only=True):
    """A level with its lessons in order."""

    lessons: list[LessonOut]


class CourseDetails(CourseOut, kw_only=True):
    """A course with its levels and lessons in order."""

    levels: list[LevelDetails]
