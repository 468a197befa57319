"""Who may open a course and its lessons."""

import enum
from typing import Protocol

from mambo.errors import NotAllowed, NotFound


class Access(enum.Enum):
    """What a visitor may do with a course and its lessons."""

    HIDDEN = "hidden"
    LOCKED = "locked"
    OPEN = "open"


class Visitor(Protocol):
    """Someone who is signed in, such as a `Principal`."""

    @property
    def is_staff(self) -> bool: ...

    @property
    def is_subscribed(self) -> bool: ...


class Course(Protocol):
    """A course as any package loads it."""

    @property
    def is_published(self) -> bool: ...

    @property
    def is_free(self) -> bool: ...


def access_of(visitor: Visitor | None, course: Course | None) -> Access:
    """Return what a visitor may do with a course and its lessons. Every route to a lesson decides by this function.

    A draft is hidden from everyone but staff. A course that is not free opens to staff and to subscribers. A course
    that does not exist (None) is hidden. `visitor` is None when nobody is signed in.
    """
    is_staff = visitor is not None and visitor.is_staff
    if course is None or not (course.is_published or is_staff):
        return Access.HIDDEN
    if course.is_free or is_staff or (visitor is not None and visitor.is_subscribed):
        return Access.OPEN
    return Access.LOCKED


def require_open(access: Access) -> None:
    """Check that a visitor may read, complete and discuss a lesson.

    Raises:
        NotFound: the lesson does not exist for this visitor.
        NotAllowed: the lesson is part of a course that the visitor has not paid for.

    """
    if access is Access.HIDDEN:
        raise NotFound("lesson")
    if access is Access.LOCKED:
        raise NotAllowed("This lesson is part of a paid course: subscribe to open it.", code="locked")
