"""Who may see what of a course, and what makes a lesson's content good."""

from collections import Counter
from math import ceil

from msgspec import UNSET, structs

from mambo.courses.schemas import LessonContent, QuizQuestion
from mambo.errors import Invalid


def without_answers(content: LessonContent) -> LessonContent:
    """The content as a learner may see it: no question says which option is right, or why."""
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


def minutes_of(duration_minutes: int | None, video_seconds: float | None) -> int | None:
    """How long a lesson takes: what its author says, else its video's length, in whole minutes rounded up."""
    if duration_minutes is not None or video_seconds is None:
        return duration_minutes
    return ceil(video_seconds / 60)


def check_content(content: LessonContent) -> None:
    """Refuse a quiz that nobody could pass or that could not be answered by question id.

    Raises:
        Invalid: an id stands twice, or a question has no right option.

    """
    questions: list[QuizQuestion] = content.quiz or []
    for index, question in enumerate(questions):
        if not any(option.is_correct is True for option in question.options):
            raise Invalid.field(f"content_json.quiz[{index}].options", "must have at least one option that is correct")
    twice = [name for name, times in Counter(question.id for question in questions).items() if times > 1]
    if twice:
        raise Invalid.field("content_json.quiz", "must give each question an id of its own", "not_unique")
