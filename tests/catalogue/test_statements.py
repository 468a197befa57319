"""A page takes the same small number of SQL statements, whatever the size of the courses."""

import pytest
from litestar import Litestar

from conftest import counted
from factories import School
from support.catalogue import complete, lesson_path

PAGES = {
    "/api/users/me": 2,
    "/api/courses/worlds": 2,
    "/api/courses/worlds/{world}/lessons": 2,
    "/api/courses/lessons/{lesson}": 2,
    "/api/progress/me": 2,
    "/api/progress/xp": 2,
    "/api/progress/streak": 2,
    "/api/users/leaderboard": 2,
    "/api/users/leaderboard?period=week": 2,
    "/api/admin/courses": 2,
    "/api/admin/courses/{world}": 3,
    "/api/admin/lessons/{lesson}": 2,
    "/api/admin/users": 2,
    "/api/admin/students": 2,
    "/api/admin/users/{user}": 2,
    "/api/admin/stats": 3,
}


@pytest.mark.parametrize("path", PAGES)
@pytest.mark.parametrize("size", [1, 30])
async def test_a_page_takes_few_statements_whatever_the_size_of_the_courses(
    school: School, app: Litestar, path: str, size: int
) -> None:
    """The check of the session is one of them."""
    worlds = [await school.world(lessons=size) for _ in range(1 + size // 10)]
    [lesson, *_] = await school.lessons_of(worlds[0])
    learner, admin = await school.person(), await school.admin()
    await complete(learner, lesson)
    reader = admin if "/admin/" in path else learner
    page = path.format(world=worlds[0].id, lesson=lesson.id, user=learner.user_id)
    await reader.get(page)  # the catalogue is in memory

    with counted(app) as statements:
        response = await reader.get(page)

    assert response.status_code == 200
    assert len(statements) <= PAGES[path], statements


async def test_a_completion_is_one_statement_the_first_time_and_again(school: School, app: Litestar) -> None:
    """The check of the session is another one."""
    world = await school.world(lessons=20)
    [lesson, *_] = await school.lessons_of(world)
    learner = await school.person()
    await learner.get(lesson_path(lesson))  # the course is in memory

    with counted(app) as first:
        await complete(learner, lesson)
    with counted(app) as again:
        await complete(learner, lesson)

    assert (len(first), len(again)) == (2, 2)
