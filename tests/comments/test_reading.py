"""Reading what is said about a lesson: page by page, with nothing lost or doubled, in few statements."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import httpx
import pytest
from litestar import Litestar

from comments.test_saying import comments_on, items_on, say
from conftest import counted
from factories import Caller, School
from mambo.comments.models import Comment
from mambo.courses.models import Lesson

SOME_TIME = datetime(2026, 3, 1, tzinfo=UTC)


async def said(school: School, lesson: Lesson, who: Caller, number: int, parent_id: UUID | None = None) -> list[UUID]:
    """So many comments by someone, put straight into the database; answers their ids, the oldest first."""
    comments = [
        Comment(lesson_id=lesson.id, author_id=who.user_id, parent_id=parent_id, body=f"No. {index}")
        for index in range(number)
    ]
    await school.add(*comments)
    return [comment.id for comment in comments]


async def walk(who: Caller, lesson: Lesson, between: Callable[[], Any], **query: Any) -> list[str]:
    """The ids of all pages, two to a page; something happens between each page and the next."""
    ids: list[str] = []
    cursor: dict[str, str] = {}
    while True:
        page = (await who.get(comments_on(lesson), params={"limit": 2} | query | cursor)).json()
        assert len(page["items"]) <= 2
        ids += [item["id"] for item in page["items"]]
        if page["next_cursor"] is None:
            return ids
        cursor = {"cursor": page["next_cursor"]}
        await between()


def texts(ids: list[UUID]) -> list[str]:
    return [str(one) for one in ids]


async def test_pages_lose_and_double_nothing_while_new_comments_come(school: School, lesson: Lesson) -> None:
    """The newest come first; one that is said meanwhile is on none of the pages that are left."""
    ana = await school.person()
    there = await said(school, lesson, ana, 7)

    async def someone_talks() -> None:
        [new] = await said(school, lesson, ana, 1)
        await said(school, lesson, ana, 1, parent_id=new)

    assert await walk(ana, lesson, someone_talks) == texts(there[::-1])


async def test_pages_of_replies_hold_all_that_come_meanwhile(school: School, lesson: Lesson) -> None:
    """The oldest come first, so that the walk ends with the newest."""
    ana = await school.person()
    [parent] = await said(school, lesson, ana, 1)
    there = await said(school, lesson, ana, 5, parent_id=parent)
    late: list[UUID] = []

    async def two_reply() -> None:
        if len(late) < 4:
            late.extend(await said(school, lesson, ana, 2, parent_id=parent))

    assert await walk(ana, lesson, two_reply, parent_id=parent) == texts(there + late)


async def test_a_page_goes_on_where_a_removed_comment_was(school: School, lesson: Lesson) -> None:
    ana = await school.person()
    there = await said(school, lesson, ana, 5)
    cursor = (await ana.get(comments_on(lesson), params={"limit": 2})).json()["next_cursor"]

    await ana.delete(f"{comments_on(lesson)}/{cursor}")

    assert [item["id"] for item in await items_on(lesson, ana, cursor=cursor)] == texts(there[2::-1])


async def test_a_comment_shows_its_first_three_replies_and_how_many_there_are(school: School, lesson: Lesson) -> None:
    ana = await school.person()
    older, newer = await said(school, lesson, ana, 2)
    replies = await said(school, lesson, ana, 5, parent_id=older)
    others = await said(school, lesson, ana, 1, parent_id=newer)
    await ana.delete(f"{comments_on(lesson)}/{replies[1]}")

    items = await items_on(lesson, ana)

    assert [item["id"] for item in items] == texts([newer, older])
    assert [item["reply_count"] for item in items] == [1, 4]
    assert [[reply["id"] for reply in item["replies"]] for item in items] == [
        texts(others),
        texts([replies[0], *replies[2:4]]),
    ]
    listed = await items_on(lesson, ana, parent_id=older)
    assert [reply["id"] for reply in listed] == texts([replies[0], *replies[2:]])


async def test_a_lesson_shows_its_three_newest_comments_as_the_list_does(school: School, lesson: Lesson) -> None:
    """To learners and staff alike; a removed one only while it has replies."""
    ana = await school.person()
    there = await said(school, lesson, ana, 5)
    await said(school, lesson, ana, 4, parent_id=there[3])
    for removed in there[3:]:
        await ana.delete(f"{comments_on(lesson)}/{removed}")

    for reader in (ana, await school.person(), await school.instructor()):
        shown = (await reader.get(f"/api/courses/lessons/{lesson.id}")).json()["comments"]

        assert [comment["id"] for comment in shown] == texts(there[3:0:-1])
        assert shown == await items_on(lesson, reader, limit=3)


async def test_a_locked_lesson_tells_nothing_of_what_is_said(school: School, client: httpx.AsyncClient) -> None:
    world = await school.world(lessons=1, is_free=False)
    [lesson] = await school.lessons_of(world)
    await say(await school.person(subscribed=True), lesson, "worth paying for")
    ben = await school.person()

    answers = [
        await ben.get(f"/api/courses/lessons/{lesson.id}"),
        await ben.get(comments_on(lesson)),
        await ben.get(f"/api/courses/worlds/{world.id}/lessons"),
        await client.get(comments_on(lesson)),
    ]

    assert [answer.status_code for answer in answers] == [403, 403, 200, 401]
    assert not any("worth paying for" in answer.text for answer in answers)


async def test_others_learn_a_first_name_and_an_initial_and_no_more(school: School, lesson: Lesson) -> None:
    ana, ben = await school.person(first_name="Ana", last_name="Ruiz"), await school.person()
    await say(ana, lesson)

    response = await ben.get(comments_on(lesson))

    assert response.json()["items"][0]["author"] == {"id": str(ana.user_id), "name": "Ana R.", "avatar_url": None}
    assert "Ruiz" not in response.text
    assert ana.email not in response.text


@pytest.mark.parametrize("size", [1, 30])
@pytest.mark.parametrize("path", ["", "/comments", "/comments?parent_id={parent}"])
async def test_reading_takes_three_statements(
    school: School, lesson: Lesson, app: Litestar, path: str, size: int
) -> None:
    """Who asks, whether the lesson is open, and what is said there."""
    ana = await school.person()
    for parent in await said(school, lesson, ana, size):
        await said(school, lesson, await school.person(), 1 + size // 10, parent_id=parent)
    await ana.get(f"/api/courses/lessons/{lesson.id}")  # the catalogue is in memory

    with counted(app) as statements:
        response = await ana.get(f"/api/courses/lessons/{lesson.id}{path.format(parent=parent)}")

    assert response.status_code == 200
    assert len(statements) == 3, statements


async def test_writing_takes_a_constant_number_of_statements(school: School, lesson: Lesson, app: Litestar) -> None:
    """Who asks and whether the lesson is open, then what is done, then what is answered."""
    ana = await school.person()
    [parent, other] = await said(school, lesson, ana, 2)
    await said(school, lesson, ana, 20, parent_id=parent)
    calls = [
        ("POST", "", {"body": "x"}),
        ("POST", "", {"body": "x", "parent_id": str(parent)}),
        ("PATCH", f"/{parent}", {"body": "x"}),
        ("DELETE", f"/{other}", None),
    ]
    numbers = []
    for method, rest, body in calls:
        with counted(app) as statements:
            await ana.request(method, comments_on(lesson) + rest, json=body)
        numbers.append(len(statements))

    assert numbers == [5, 6, 5, 4]
