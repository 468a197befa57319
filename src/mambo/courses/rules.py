"""Who may see what of a course, and what makes a lesson's content good."""

import enum
from collections import Counter
from math import ceil

from msgspec import UNSET, structs

from mambo.courses.models import World
from mambo.courses.schemas import LessonContent, QuizQuestion
from mambo.errors import Invalid, NotAllowed, NotFound
from mambo.guards import Principal


class Access(enum.Enum):
    """What someone may do with a lesson."""

    HIDDEN = "hidden"
    LOCKED = "locked"
    OPEN = "open"


def access_to(visitor: Principal | None, *, is_published: bool, is_free: bool) -> Access:
    """Decide access to a world and its lessons; every door to a lesson asks here.

    Drafts exist for staff alone. What is not free opens to staff and to live subscriptions.
    """
    is_staff = visitor is not None and visitor.is_staff
    if not is_published and not is_staff:
        return Access.HIDDEN
    if is_free or is_staff or (visitor is not None and visitor.is_subscribed):
        return Access.OPEN
    return Access.LOCKED


def access_of(visitor: Principal | None, world: World | None) -> Access:
    """The same for a world; one that does not exist is hidden."""
    if world is None:
        return Access.HIDDEN
    return access_to(visitor, is_published=world.is_published, is_free=world.is_free)


def require_open(access: Access) -> None:
    """Let someone in who may read, complete, answer or comment on a lesson.

    Raises:
        NotFound: the lesson does not exist for them.
        NotAllowed: it is part of a course that they would have to pay for.

    """
    if access is Access.HIDDEN:
        raise NotFound("lesson")
    if access is Access.LOCKED:
        raise NotAllowed("This lesson is part of a paid course: subscribe to open it.", code="locked")


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
