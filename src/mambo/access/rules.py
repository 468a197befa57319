"""Who may open a course and its lessons."""

import enum
from typing import Protocol

from mambo.errors import NotAllowed, NotFound
from mambo.web.principal import Principal


class Access(enum.Enum):
    """What someone may do with a lesson."""

    HIDDEN = "hidden"
    LOCKED = "locked"
    OPEN = "open"


class Course(Protocol):
    """What decides about access to a course."""

    @property
    def is_published(self) -> bool: ...

    @property
    def is_free(self) -> bool: ...


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


def access_of(visitor: Principal | None, world: Course | None) -> Access:
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
