"""Reading comments: pages without gaps or duplicates, in a constant number of statements."""

from collections.abc import Callable
from typing import Any
from uuid import UUID

import httpx
import pytest
from litestar import Litestar

from conftest import counted
from factories import Caller, School
from mambo.courses.models import Lesson
from support.comments import add_comments, comments_path, get_comments, post_comment


async def read_pages(reader: Caller, lesson: Lesson, between: Callable[[], Any], **query: Any) -> list[str]:
    """Return the ids of all pages of two; `between` is awaited between two pages."""
    ids: list[str] = []
    cursor: dict[str, str] = {}
    while True:
        page = (await reader.get(comments_path(lesson), params={"limit": 2} | query | cursor)).json()
        assert len(page["items"]) <= 2
        ids += [item["id"] for item in page["items"]]
        if page["next_cursor"] is None:
            return ids
        cursor = {"cursor": page["next_cursor"]}
        await between()


def as_strings(ids: list[UUID]) -> list[str]:
    return [str(one) for one in ids]


async def test_pages_have_no_gaps_or_duplicates_while_comments_are_added(school: School, lesson: Lesson) -> None:
    """The newest come first; a comment added between two pages is on none of the remaining ones."""
    ana = await school.person()
    stored = await add_comments(school, lesson, ana, 7)

    async def add_comment_with_reply() -> None:
        [new] = await add_comments(school, lesson, ana, 1)
        await add_comments(school, lesson, ana, 1, parent_id=new)

    assert await read_pages(ana, lesson, add_comment_with_reply) == as_strings(stored[::-1])


async def test_pages_of_replies_include_those_added_between_pages(school: School, lesson: Lesson) -> None:
    """The oldest come first, so that the newest are on the last page."""
    ana = await school.person()
    [parent] = await add_comments(school, lesson, ana, 1)
    stored = await add_comments(school, lesson, ana, 5, parent_id=parent)
    late: list[UUID] = []

    async def add_two_replies() -> None:
        if len(late) < 4:
            late.extend(await add_comments(school, lesson, ana, 2, parent_id=parent))

    assert await read_pages(ana, lesson, add_two_replies, parent_id=parent) == as_strings(stored + late)


async def test_the_cursor_may_be_a_removed_comment(school: School, lesson: Lesson) -> None:
    ana = await school.person()
    stored = await add_comments(school, lesson, ana, 5)
    cursor = (await ana.get(comments_path(lesson), params={"limit": 2})).json()["next_cursor"]

    await ana.delete(f"{comments_path(lesson)}/{cursor}")

    assert [item["id"] for item in await get_comments(lesson, ana, cursor=cursor)] == as_strings(stored[2::-1])


async def test_a_comment_has_its_first_three_replies_and_their_number(school: School, lesson: Lesson) -> None:
    ana = await school.person()
    older, newer = await add_comments(school, lesson, ana, 2)
    replies = await add_comments(school, lesson, ana, 5, parent_id=older)
    others = await add_comments(school, lesson, ana, 1, parent_id=newer)
    await ana.delete(f"{comments_path(lesson)}/{replies[1]}")

    items = await get_comments(lesson, ana)

    assert [item["id"] for item in items] == as_strings([newer, older])
    assert [item["reply_count"] for item in items] == [1, 4]
    assert [[reply["id"] for reply in item["replies"]] for item in items] == [
        as_strings(others),
        as_strings([replies[0], *replies[2:4]]),
    ]
    listed = await get_comments(lesson, ana, parent_id=older)
    assert [reply["id"] for reply in listed] == as_strings([replies[0], *replies[2:]])


async def test_a_lesson_has_its_three_newest_comments_as_in_the_list(school: School, lesson: Lesson) -> None:
    """For learners and staff; a removed comment is among them only while it has replies."""
    ana = await school.person()
    stored = await add_comments(school, lesson, ana, 5)
    await add_comments(school, lesson, ana, 4, parent_id=stored[3])
    for removed in stored[3:]:
        await ana.delete(f"{comments_path(lesson)}/{removed}")

    for reader in (ana, await school.person(), await school.instructor()):
        shown = (await reader.get(f"/api/courses/lessons/{lesson.id}")).json()["comments"]

        assert [comment["id"] for comment in shown] == as_strings(stored[3:0:-1])
        assert shown == await get_comments(lesson, reader, limit=3)


async def test_comments_on_a_locked_lesson_are_not_shown(school: School, client: httpx.AsyncClient) -> None:
    world = await school.world(lessons=1, is_free=False)
    [lesson] = await school.lessons_of(world)
    await post_comment(await school.person(subscribed=True), lesson, "worth paying for")
    ben = await school.person()

    responses = [
        await ben.get(f"/api/courses/lessons/{lesson.id}"),
        await ben.get(comments_path(lesson)),
        await ben.get(f"/api/courses/worlds/{world.id}/lessons"),
        await client.get(comments_path(lesson)),
    ]

    assert [response.status_code for response in responses] == [403, 403, 200, 401]
    assert not any("worth paying for" in response.text for response in responses)


async def test_an_author_is_shown_by_first_name_and_initial_only(school: School, lesson: Lesson) -> None:
    ana, ben = await school.person(first_name="Ana", last_name="Ruiz"), await school.person()
    await post_comment(ana, lesson)

    response = await ben.get(comments_path(lesson))

    assert response.json()["items"][0]["author"] == {"id": str(ana.user_id), "name": "Ana R.", "avatar_url": None}
    assert "Ruiz" not in response.text
    assert ana.email not in response.text


@pytest.mark.parametrize("size", [1, 30])
@pytest.mark.parametrize("path", ["", "/comments", "/comments?parent_id={parent}"])
async def test_reading_takes_three_statements(
    school: School, lesson: Lesson, app: Litestar, path: str, size: int
) -> None:
    """For comments: the session, access to the lesson, and the comments."""
    ana = await school.person()
    for parent in await add_comments(school, lesson, ana, size):
        await add_comments(school, lesson, await school.person(), 1 + size // 10, parent_id=parent)
    await ana.get(f"/api/courses/lessons/{lesson.id}")  # the catalogue is in memory

    with counted(app) as statements:
        response = await ana.get(f"/api/courses/lessons/{lesson.id}{path.format(parent=parent)}")

    assert response.status_code == 200
    assert len(statements) == 3, statements


async def test_writing_takes_a_constant_number_of_statements(school: School, lesson: Lesson, app: Litestar) -> None:
    """The session and access to the lesson, the change, and the comment to return."""
    ana = await school.person()
    [parent, other] = await add_comments(school, lesson, ana, 2)
    await add_comments(school, lesson, ana, 20, parent_id=parent)
    calls = [
        ("POST", "", {"body": "x"}),
        ("POST", "", {"body": "x", "parent_id": str(parent)}),
        ("PATCH", f"/{parent}", {"body": "x"}),
        ("DELETE", f"/{other}", None),
    ]
    numbers = []
    for method, rest, body in calls:
        with counted(app) as statements:
            await ana.request(method, comments_path(lesson) + rest, json=body)
        numbers.append(len(statements))

    assert numbers == [5, 6, 5, 4]
