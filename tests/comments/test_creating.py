"""Creating comments and replies."""

import asyncio
from typing import Any
from uuid import UUID, uuid4

import pytest
import sqlalchemy as sa

from factories import School
from mambo.courses.models import Lesson
from mambo.users.models import UserProfile
from support.comments import comments_path, get_comments, get_rows, post_comment

# Creating


async def test_a_created_comment_is_returned_and_listed(school: School, lesson: Lesson) -> None:
    ana = await school.person(first_name="Ana María", last_name="Ruiz")
    async with school.sessions() as session, session.begin():
        await session.execute(sa.update(UserProfile).values(avatar_url="https://x.example/a.png"))

    response = await ana.post(comments_path(lesson), {"body": "Where is the weight on 6?"})

    assert response.status_code == 201
    assert response.json() == {
        "id": response.json()["id"],
        "parent_id": None,
        "body": "Where is the weight on 6?",
        "author": {"id": str(ana.user_id), "name": "Ana María R.", "avatar_url": "https://x.example/a.png"},
        "created_at": "2026-03-02T12:00:00Z",
        "edited_at": None,
        "is_own": True,
        "is_removed": False,
        "reply_count": 0,
        "replies": [],
    }
    assert UUID(response.json()["id"]).version == 7
    assert await get_comments(lesson, ana) == [response.json()]
    ben = await school.person()
    assert await get_comments(lesson, ben) == [response.json() | {"is_own": False}]


@pytest.mark.parametrize(
    "body",
    [
        "<script>alert(1)</script> & <b>bold</b>",
        "  on two \r\n\n\tand again ",
        "👩‍👩‍👧‍👦" * 285,
        "é" * 2000,
        "x",
        "null",
    ],
    ids=["markup", "whitespace", "emoji", "longest", "shortest", "null"],
)
async def test_text_is_stored_unchanged(school: School, lesson: Lesson, body: str) -> None:
    ana = await school.person()

    created = await post_comment(ana, lesson, body)

    assert created["body"] == body
    assert [item["body"] for item in await get_comments(lesson, ana)] == [body]


@pytest.mark.parametrize("method", ["POST", "PATCH"])
@pytest.mark.parametrize(
    "body", ["", " \n\t\u00a0", "x" * 2001, "a\0b", None, 7], ids=["empty", "blank", "long", "NUL", "null", "number"]
)
async def test_invalid_text_is_refused(school: School, lesson: Lesson, method: str, body: Any) -> None:
    ana = await school.person()
    created = await post_comment(ana, lesson)
    path = comments_path(lesson) + (f"/{created['id']}" if method == "PATCH" else "")

    response = await ana.request(method, path, json={"body": body})

    assert response.status_code == 422
    assert [error["field"] for error in response.json()["errors"]] == ["body"]
    assert await get_comments(lesson, ana) == [created]


async def test_the_twenty_first_comment_within_a_minute_is_refused(school: School, lesson: Lesson) -> None:
    ana, ben = await school.person(), await school.person()
    for _ in range(20):
        await post_comment(ana, lesson)

    response = await ana.post(comments_path(lesson), {"body": "One more."})

    assert response.status_code == 429
    assert response.json()["detail"] == "You wrote many comments. Try again in 60 seconds."
    await post_comment(ben, lesson)


# Keys


async def test_ten_concurrent_requests_with_one_key_create_one_comment(school: School, lesson: Lesson) -> None:
    ana = await school.person()
    body = {"body": "Once.", "key": str(uuid4())}

    replies = await asyncio.gather(*(ana.post(comments_path(lesson), body) for _ in range(10)))

    assert [reply.status_code for reply in replies] == [201] * 10
    assert all(reply.json() == replies[0].json() for reply in replies)
    assert await get_comments(lesson, ana) == [replies[0].json()]


async def test_without_a_key_two_requests_create_two_comments(school: School, lesson: Lesson) -> None:
    ana = await school.person()

    await post_comment(ana, lesson, "Again!")
    await post_comment(ana, lesson, "Again!")

    assert [item["body"] for item in await get_comments(lesson, ana)] == ["Again!", "Again!"]


async def test_keys_of_different_authors_are_independent(school: School, lesson: Lesson) -> None:
    ana, ben = await school.person(), await school.person()
    key = str(uuid4())
    await post_comment(ana, lesson, "Ana's", key=key)

    replies = [await post_comment(ben, lesson, "Ben's", key=key) for _ in range(2)]
    again = await post_comment(ana, lesson, "Ana's", key=key)

    assert replies[0] == replies[1]
    assert [(one["body"], one["author"]["id"]) for one in (replies[0], again)] == [
        ("Ben's", str(ben.user_id)),
        ("Ana's", str(ana.user_id)),
    ]
    assert [item["body"] for item in await get_comments(lesson, ana)] == ["Ben's", "Ana's"]


async def test_the_key_of_a_removed_comment_or_of_another_lesson_is_a_conflict(school: School, lesson: Lesson) -> None:
    ana = await school.person()
    [other] = await school.lessons_of(await school.world(lessons=1))
    removed, elsewhere = str(uuid4()), str(uuid4())
    comment = await post_comment(ana, lesson, key=removed)
    await ana.delete(f"{comments_path(lesson)}/{comment['id']}")
    await post_comment(ana, other, key=elsewhere)

    responses = [await ana.post(comments_path(lesson), {"body": "x", "key": key}) for key in (removed, elsewhere)]

    assert [(response.status_code, response.json()["code"]) for response in responses] == [(409, "key_used")] * 2
    assert await get_comments(lesson, ana) == []


# Replying


async def test_a_reply_is_listed_under_its_comment(school: School, lesson: Lesson) -> None:
    ana, ben = await school.person(), await school.person()
    comment = await post_comment(ana, lesson)

    reply = await post_comment(ben, lesson, "Thanks!", parent_id=comment["id"])

    assert (reply["parent_id"], reply["reply_count"], reply["replies"]) == (comment["id"], 0, [])
    [shown] = await get_comments(lesson, ana)
    fields = {name: value for name, value in reply.items() if name not in {"reply_count", "replies"}}
    assert (shown["reply_count"], shown["replies"]) == (1, [fields | {"is_own": False}])


async def test_a_reply_to_a_reply_is_refused(school: School, lesson: Lesson) -> None:
    ana = await school.person()
    comment = await post_comment(ana, lesson)
    reply = await post_comment(ana, lesson, parent_id=comment["id"])

    response = await ana.post(comments_path(lesson), {"body": "Deeper.", "parent_id": reply["id"]})

    assert (response.status_code, response.json()["code"]) == (409, "reply_to_reply")
    assert response.json()["detail"] == "This is a reply itself: reply to the comment above it."


async def test_a_reply_needs_a_present_comment_on_the_lesson(school: School, lesson: Lesson) -> None:
    """A comment on another lesson and a removed one look like an unknown id."""
    ana = await school.person()
    [other] = await school.lessons_of(await school.world(lessons=1))
    elsewhere, removed = await post_comment(ana, other), await post_comment(ana, lesson)
    await post_comment(ana, other, parent_id=elsewhere["id"])
    await ana.delete(f"{comments_path(lesson)}/{removed['id']}")
    before = await get_rows(school)

    replies = [
        await ana.post(comments_path(lesson), {"body": "x", "parent_id": str(parent_id)})
        for parent_id in (uuid4(), elsewhere["id"], removed["id"])
    ]

    assert [reply.status_code for reply in replies] == [404] * 3
    assert len({reply.json()["detail"] for reply in replies}) == 1
    assert await get_comments(lesson, ana, parent_id=elsewhere["id"]) == []
    assert await get_rows(school) == before
