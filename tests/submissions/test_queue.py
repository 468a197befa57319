"""The list of submissions for staff."""

from typing import Any

import pytest
from litestar import Litestar

from conftest import START, counted
from factories import Caller, School
from mambo.submissions import repository
from mambo.submissions.models import Submission
from support.submissions import VIDEO, add_battle, create_submission, grade


async def get_ids(caller: Caller, **query: Any) -> list[str]:
    response = await caller.get("/api/admin/submissions", params=query)
    assert response.status_code == 200, response.text
    return [one["id"] for one in response.json()["items"]]


async def test_pending_submissions_are_listed_oldest_first_and_all_others_newest_first(school: School) -> None:
    battle = await add_battle(school)
    instructor = await school.instructor()
    one, two, three, four = [await create_submission(await school.person(), battle) for _ in range(4)]
    await grade(instructor, two)
    await grade(instructor, three, "rejected")
    five = await create_submission(await school.person(), battle)
    await grade(instructor, five)

    assert await get_ids(instructor, status="pending") == [one, four]
    assert await get_ids(instructor, status="approved") == [five, two]
    assert await get_ids(instructor, status="rejected") == [three]
    assert await get_ids(instructor) == [five, four, three, two, one]


@pytest.mark.parametrize("query", ["status=pending&", "", "status=pending&search=ana&", "search=ana&"])
@pytest.mark.parametrize("scanned", [1, repository.SCANNED])
async def test_pages_have_no_gaps_or_duplicates(
    school: School, monkeypatch: pytest.MonkeyPatch, query: str, scanned: int
) -> None:
    """While a submission is added between two pages; a search reads some submissions before it uses an index."""
    monkeypatch.setattr(repository, "SCANNED", scanned)
    battle = await add_battle(school)
    instructor = await school.instructor()
    expected = [await create_submission(await school.person(), battle) for _ in range(7)]
    is_pending = "pending" in query
    expected = expected if is_pending else expected[::-1]
    seen, cursor = [], ""

    while cursor is not None:
        page = (await instructor.get(f"/api/admin/submissions?{query}limit=3{cursor and f'&cursor={cursor}'}")).json()
        seen.append([one["id"] for one in page["items"]])
        cursor = page["next_cursor"]
        if len(seen) == 1:
            late = await create_submission(await school.person(), battle)

    assert seen == [expected[:3], expected[3:6], expected[6:] + ([late] if is_pending else [])]


@pytest.mark.parametrize("scanned", [1, repository.SCANNED])
async def test_filters_of_the_list(school: School, monkeypatch: pytest.MonkeyPatch, scanned: int) -> None:
    monkeypatch.setattr(repository, "SCANNED", scanned)
    first, second = await add_battle(school), await add_battle(school)
    ana = await school.person(first_name="Ana", last_name="Ruiz")
    ben = await school.person(first_name="Ben", last_name="O_Neill")
    instructor = await school.instructor()
    anas, anas_second, bens = (
        await create_submission(ana, first),
        await create_submission(ana, second),
        await create_submission(ben, first),
    )

    assert await get_ids(instructor, lesson_id=str(first.id)) == [bens, anas]
    assert await get_ids(instructor, world_id=str(second.world_id)) == [anas_second]
    assert await get_ids(instructor, user_id=str(ben.user_id)) == [bens]
    assert await get_ids(instructor, user_id=str(ana.user_id), lesson_id=str(first.id)) == [anas]
    assert await get_ids(instructor, search=" ana r ") == [anas_second, anas]
    assert await get_ids(instructor, search="_") == [bens]
    assert await get_ids(instructor, search="a", lesson_id=str(first.id)) == [anas]
    assert await get_ids(instructor, search=ana.email) == []


@pytest.mark.parametrize(
    "query", ["status=lost", "limit=0", "limit=101", "cursor=abc", "lesson_id=abc", "search=%00", "search=" + "a" * 201]
)
async def test_invalid_parameters_are_refused(school: School, query: str) -> None:
    response = await (await school.instructor()).get(f"/api/admin/submissions?{query}")

    assert response.status_code == 422


async def test_a_list_of_any_length_takes_two_statements(school: School, app: Litestar) -> None:
    battle = await add_battle(school)
    learners = [await school.person() for _ in range(30)]
    rows = [
        Submission(user_id=learner.user_id, lesson_id=battle.id, video_url=VIDEO, submitted_at=START)
        for learner in learners
    ]
    await school.add(*rows)
    instructor = await school.instructor()

    with counted(app) as statements:
        listed = await get_ids(instructor, status="pending")

    assert listed == [str(row.id) for row in rows]
    assert len(statements) == 2, statements
