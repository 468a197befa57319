"""What a visitor sees of a course, as pure functions."""

import enum

from mambo.access.rules import Access, Visitor


class Reader(enum.Enum):
    """The three ways in which a lesson is shown: without what is paid for, without quiz answers, or whole."""

    LOCKED_OUT = enum.auto()
    LEARNER = enum.auto()
    STAFF = enum.auto()


def reader_of(visitor: Visitor | None, access: Access) -> Reader:
    """Return how a visitor with this access sees a lesson."""
    if access is not Access.OPEN:
        return Reader.LOCKED_OUT
    return Reader.STAFF if visitor is not None and visitor.is_staff else Reader.LEARNER


def percentage_of(completed: int, lesson_count: int) -> float:
    """Return the completed share in percent, rounded to one decimal; at most 100, and 0 without lessons.

    The two counts may be read at different moments, so that lessons deleted in between count as completed only.
    """
    return round(100 * min(completed, lesson_count) / lesson_count, 1) if lesson_count else 0.0
