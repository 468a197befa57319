"""Difficulties, lengths and quizzes of lessons, as pure functions."""

import enum
from collections import Counter
from math import ceil
from typing import TYPE_CHECKING

from msgspec import UNSET, structs

from mambo.errors import Invalid

if TYPE_CHECKING:
    from mambo.courses.schemas import LessonContent


class Difficulty(enum.StrEnum):
    """How hard a course is; accepted in any case."""

    BEGINNER = "Beginner"
    INTERMEDIATE = "Intermediate"
    ADVANCED = "Advanced"

    @classmethod
    def _missing_(cls, value: object) -> "Difficulty | None":
        return next((member for member in cls if str(value).casefold() == member.casefold()), None)


def minutes_of(duration_minutes: int | None, video_seconds: float | None) -> int | None:
    """Return the minutes that a lesson takes: those that its author set, or the length of its video, rounded up."""
    if duration_minutes is not None or video_seconds is None:
        return duration_minutes
    return ceil(video_seconds / 60)


def without_answers(content: "LessonContent") -> "LessonContent":
    """Return a copy for learners: its questions do not say which option is correct, or why."""
    if content.quiz is UNSET:
        return content
    questions = [
        structs.replace(
            question,
            explanation=UNSET,
            options=[structs.replace(option, is_correct=UNSET) for option in question.options],
        )
        for question in content.quiz
    ]
    return structs.replace(content, quiz=questions)


def check_content(content: "LessonContent") -> None:
    """Check that each question of a quiz has a correct option, and an id of its own.

    Raises:
        Invalid: names the first question without a correct option, or the quiz.

    """
    questions = content.quiz or []
    for index, question in enumerate(questions):
        if not any(option.is_correct is True for option in question.options):
            raise Invalid.field(f"content_json.quiz[{index}].options", "must have at least one option that is correct")
    if any(count > 1 for count in Counter(question.id for question in questions).values()):
        raise Invalid.field("content_json.quiz", "must give each question an id of its own", "not_unique")
