"""Encodes lessons, once for each kind of reader."""

from typing import Any, NamedTuple

import msgspec
import structlog
from msgspec import Raw, Struct

from mambo.catalogue.repository import LessonRow
from mambo.catalogue.rules import Reader
from mambo.catalogue.schemas import LessonView
from mambo.courses import rules
from mambo.courses.schemas import LessonContent
from mambo.web.responses import encode, etag_of

log = structlog.get_logger(__name__)

FROM_ROW = tuple(name for name in LessonView.__struct_fields__ if name in LessonRow.__struct_fields__)
NULL = Raw(b"null")


class LessonEntry(Struct, frozen=True, gc=False):
    """A lesson. `version` is that of its row; the content is JSON, whole and as a learner may see it."""

    row: LessonRow
    version: int
    content: Raw
    content_without_answers: Raw
    has_quiz: bool


class EncodedList(NamedTuple):
    """The `LessonView` of each lesson, not completed and completed, and an entity tag of them all."""

    views: list[tuple[Raw, Raw]]
    etag: bytes


def entry_of(row: LessonRow, version: int, stored: str | None) -> LessonEntry:
    """Return a lesson with its content checked and encoded; content that cannot be read is logged and left out."""
    content = None
    if stored is not None:
        try:
            content = msgspec.json.decode(stored, type=LessonContent)
        except msgspec.ValidationError:
            log.exception("lesson content is unreadable", lesson_id=str(row.id))
    if content is None:
        return LessonEntry(row, version, NULL, NULL, has_quiz=False)
    whole = Raw(encode(content))
    if not content.quiz:
        return LessonEntry(row, version, whole, whole, has_quiz=False)
    return LessonEntry(row, version, whole, Raw(encode(rules.without_answers(content))), has_quiz=True)


def encode_list(lessons: list[LessonEntry], reader: Reader) -> EncodedList:
    views = [
        (Raw(encode(LessonView(**fields, is_completed=False))), Raw(encode(LessonView(**fields, is_completed=True))))
        for fields in (fields_of(lesson, reader) for lesson in lessons)
    ]
    return EncodedList(views, etag_of(encode([view for view, _ in views])).encode())


def fields_of(lesson: LessonEntry, reader: Reader) -> dict[str, Any]:
    """Return the fields of a `LessonView` but `is_completed`, with content that is encoded already.

    A reader who is locked out sees nothing that is paid for, and only staff see the answers of a quiz.
    """
    row = lesson.row
    fields = {name: getattr(row, name) for name in FROM_ROW}
    fields["duration_minutes"] = rules.minutes_of(row.duration_minutes, row.duration_seconds)
    fields["video_url"] = row.video_url or ""
    fields["content_json"] = lesson.content if reader is Reader.STAFF else lesson.content_without_answers
    fields["is_locked"] = reader is Reader.LOCKED_OUT
    if reader is Reader.LOCKED_OUT:
        fields |= {"video_url": "", "content_json": None, "mux_playback_id": None, "mux_asset_id": None}
    return fields
