"""A lesson to comment on."""

import pytest

from factories import School
from mambo.courses.models import Lesson


@pytest.fixture
async def lesson(school: School) -> Lesson:
    return (await school.lessons_of(await school.world(lessons=1)))[0]
