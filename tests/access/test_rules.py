"""Access to courses."""

from uuid import UUID

import pytest
from msgspec import Struct

from mambo.access.rules import Access, access_of, require_open
from mambo.errors import NotAllowed, NotFound
from mambo.web.principal import Principal, Role


class Course(Struct):
    is_published: bool
    is_free: bool


def someone(role: Role, *, is_subscribed: bool = False) -> Principal:
    return Principal(UUID(int=1), UUID(int=2), role, is_subscribed, "UTC")


VISITORS = {
    "anonymous": None,
    "learner": someone(Role.USER),
    "subscriber": someone(Role.USER, is_subscribed=True),
    "instructor": someone(Role.INSTRUCTOR),
    "admin": someone(Role.ADMIN),
}
OPEN, LOCKED, HIDDEN = Access.OPEN, Access.LOCKED, Access.HIDDEN
COURSES = ((True, True), (True, False), (False, True), (False, False))  # is it published, is it free
ACCESS = {
    "anonymous": (OPEN, LOCKED, HIDDEN, HIDDEN),
    "learner": (OPEN, LOCKED, HIDDEN, HIDDEN),
    "subscriber": (OPEN, OPEN, HIDDEN, HIDDEN),
    "instructor": (OPEN, OPEN, OPEN, OPEN),
    "admin": (OPEN, OPEN, OPEN, OPEN),
}


@pytest.mark.parametrize(
    ("visitor", "is_published", "is_free", "access"),
    [
        (visitor, *course, access)
        for visitor, accesses in ACCESS.items()
        for course, access in zip(COURSES, accesses, strict=True)
    ],
)
def test_access_follows_from_the_visitor_and_the_course(
    visitor: str, access: Access, *, is_published: bool, is_free: bool
) -> None:
    assert access_of(VISITORS[visitor], Course(is_published, is_free)) is access


@pytest.mark.parametrize("visitor", VISITORS)
def test_a_course_that_does_not_exist_is_hidden_from_everyone(visitor: str) -> None:
    assert access_of(VISITORS[visitor], None) is Access.HIDDEN


def test_only_an_open_lesson_may_be_read() -> None:
    require_open(Access.OPEN)
    with pytest.raises(NotAllowed):
        require_open(Access.LOCKED)
    with pytest.raises(NotFound):
        require_open(Access.HIDDEN)
