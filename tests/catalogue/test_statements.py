"""A read is at most three SQL statements, the check of the session among them, whatever the size of the course."""

import pytest
from litestar import Litestar

from conftest import counted
from factories import School

READS = [
    ("user", "/api/users/me", 2),
    ("user", "/api/courses/worlds", 2),
    ("user", "/api/courses/worlds/{world}/lessons", 2),
    ("user", "/api/courses/lessons/{lesson}", 2),
    ("user", "/api/progress/me", 3),
    ("user", "/api/progress/xp", 2),
    ("user", "/api/progress/streak", 2),
    ("user", "/api/users/leaderboard", 2),
    ("user", "/api/users/leaderboard?period=week", 2),
    ("admin", "/api/admin/courses", 2),
    ("admin", "/api/admin/courses/{world}", 3),
    ("admin", "/api/admin/lessons/{lesson}", 2),
    ("admin", "/api/admin/users", 2),
    ("admin", "/api/admin/students", 2),
    ("admin", "/api/admin/users/{user}", 2),
    ("admin", "/api/admin/stats", 3),
]


@pytest.mark.parametrize(("role", "path", "most"), READS, ids=[path for _, path, _ in READS])
@pytest.mark.parametrize("size", [1, 30])
async def test_a_read_takes_a_constant_number_of_statements(
    school: School, app: Litestar, role: str, path: str, most: int, size: int
) -> None:
    worlds = [await school.world(lessons=size) for _ in range(1 + size // 10)]
    [lesson, *_] = await school.lessons_of(worlds[0])
    learner, admin = await school.person(), await school.admin()
    await learner.post(f"/api/courses/lessons/{lesson.id}/complete")
    caller = admin if role == "admin" else learner

    with counted(app) as statements:
        response = await caller.get(path.format(world=worlds[0].id, lesson=lesson.id, user=learner.user_id))

    assert response.status_code == 200
    assert len(statements) == most, statements


async def test_completing_takes_a_constant_number_of_statements(school: School, app: Litestar) -> None:
    """One beside the check of the session, the first time and again."""
    world = await school.world(lessons=20)
    [lesson, *_] = await school.lessons_of(world)
    learner = await school.person()
    await learner.get(f"/api/courses/lessons/{lesson.id}")  # the catalogue is in memory

    with counted(app) as first:
        await learner.post(f"/api/courses/lessons/{lesson.id}/complete")
    with counted(app) as again:
        await learner.post(f"/api/courses/lessons/{lesson.id}/complete")

    assert (len(first), len(again)) == (2, 2)
