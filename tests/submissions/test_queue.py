"""What staff sees of everyone's submissions."""

from typing import Any

import pytest
from litestar import Litestar

from conftest import START, counted
from factories import Caller, School
from mambo.submissions.models import Submission
from submissions.test_submitting import VIDEO, boss_of, grade, sent


async def ids(caller: Caller, **query: Any) -> list[str]:
    response = await caller.get("/api/admin/submissions", params=query)
    assert response.status_code == 200, response.text
    return [one["id"] for one in response.json()["items"]]


async def test_what_is_pending_comes_oldest_first_and_anything_else_newest_first(school: School) -> None:
    boss = await boss_of(school)
    instructor = await school.instructor()
    one, two, three, four = [await sent(await school.person(), boss) for _ in range(4)]
    await grade(instructor, two)
    await grade(instructor, three, "rejected")
    five = await sent(await school.person(), boss)
    await grade(instructor, five)

    assert await ids(instructor, status="pending") == [one, four]
    assert await ids(instructor, status="approved") == [five, two]
    assert await ids(instructor, status="rejected") == [three]
    assert await ids(instructor) == [five, four, three, two, one]


@pytest.mark.parametrize("query", ["status=pending&", ""])
async def test_pages_follow_each_other_without_gap_or_overlap(school: School, query: str) -> None:
    """Even if something is sent meanwhile."""
    boss = await boss_of(school)
    instructor = await school.instructor()
    expected = [await sent(await school.person(), boss) for _ in range(7)]
    expected = expected if query else expected[::-1]
    seen, cursor = [], ""

    while cursor is not None:
        page = (await instructor.get(f"/api/admin/submissions?{query}limit=3{cursor and f'&cursor={cursor}'}")).json()
        seen.append([one["id"] for one in page["items"]])
        cursor = page["next_cursor"]
        if len(seen) == 1:
            late = await sent(await school.person(), boss)

    assert seen == [expected[:3], expected[3:6], expected[6:] + ([late] if query else [])]


async def test_submissions_are_found_by_lesson_course_learner_and_name(school: School) -> None:
    first, second = await boss_of(school), await boss_of(school)
    ana = await school.person(first_name="Ana", last_name="Ruiz")
    ben = await school.person(first_name="Ben", last_name="O_Neill")
    instructor = await school.instructor()
    anas, anas_second, bens = await sent(ana, first), await sent(ana, second), await sent(ben, first)

    assert await ids(instructor, lesson_id=str(first.id)) == [bens, anas]
    assert await ids(instructor, world_id=str(second.world_id)) == [anas_second]
    assert await ids(instructor, user_id=str(ben.user_id)) == [bens]
    assert await ids(instructor, user_id=str(ana.user_id), lesson_id=str(first.id)) == [anas]
    assert await ids(instructor, search=" ana r ") == [anas_second, anas]
    assert await ids(instructor, search="_") == [bens]
    assert await ids(instructor, search="p1@example") == []


@pytest.mark.parametrize(
    "query", ["status=lost", "limit=0", "limit=101", "cursor=abc", "lesson_id=abc", "search=%00", "search=" + "a" * 201]
)
async def test_a_question_that_cannot_be_understood_is_told(school: School, query: str) -> None:
    response = await (await school.instructor()).get(f"/api/admin/submissions?{query}")

    assert response.status_code == 422


async def test_a_list_takes_two_statements_however_long(school: School, app: Litestar) -> None:
    boss = await boss_of(school)
    learners = [await school.person() for _ in range(30)]
    rows = [Submission(user_id=who.user_id, lesson_id=boss.id, video_url=VIDEO, submitted_at=START) for who in learners]
    await school.add(*rows)
    instructor = await school.instructor()

    with counted(app) as statements:
        shown = await ids(instructor, status="pending")

    assert shown == [str(row.id) for row in rows]
    assert len(statements) == 2, statements
