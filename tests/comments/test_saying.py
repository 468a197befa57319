"""Saying something about a lesson, and replying."""

import asyncio
from typing import Any
from uuid import UUID, uuid4

import pytest
import sqlalchemy as sa

from factories import Caller, School
from mambo.comments.models import Comment
from mambo.courses.models import Lesson
from mambo.users.models import UserProfile


def comments_on(lesson: Lesson) -> str:
    return f"/api/courses/lessons/{lesson.id}/comments"


async def say(who: Caller, lesson: Lesson, body: str = "Nice.", **fields: Any) -> dict[str, Any]:
    response = await who.post(comments_on(lesson), {"body": body} | fields)
    assert response.status_code == 201, response.text
    said: dict[str, Any] = response.json()
    return said


async def items_on(lesson: Lesson, reader: Caller, **query: Any) -> list[dict[str, Any]]:
    response = await reader.get(comments_on(lesson), params=query)
    items: list[dict[str, Any]] = response.json()["items"]
    return items


async def rows(school: School) -> set[tuple[Any, ...]]:
    """All that is stored of comments."""
    async with school.sessions() as session:
        return {tuple(row) for row in await session.execute(sa.select(*Comment.__table__.c))}


# Saying


async def test_a_comment_is_answered_and_read_back(school: School, lesson: Lesson) -> None:
    ana = await school.person(first_name="Ana María", last_name="Ruiz")
    async with school.sessions() as session, session.begin():
        await session.execute(sa.update(UserProfile).values(avatar_url="https://x.example/a.png"))

    response = await ana.post(comments_on(lesson), {"body": "Where is the weight on 6?"})

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
    assert await items_on(lesson, ana) == [response.json()]
    ben = await school.person()
    assert await items_on(lesson, ben) == [response.json() | {"is_own": False}]


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
async def test_words_come_back_as_they_were_said(school: School, lesson: Lesson, body: str) -> None:
    ana = await school.person()

    said = await say(ana, lesson, body)

    assert said["body"] == body
    assert [item["body"] for item in await items_on(lesson, ana)] == [body]


@pytest.mark.parametrize("method", ["POST", "PATCH"])
@pytest.mark.parametrize(
    "body", ["", " \n\t\u00a0", "x" * 2001, "a\0b", None, 7], ids=["empty", "blank", "long", "NUL", "null", "number"]
)
async def test_what_is_no_words_is_refused(school: School, lesson: Lesson, method: str, body: Any) -> None:
    ana = await school.person()
    said = await say(ana, lesson)
    path = comments_on(lesson) + (f"/{said['id']}" if method == "PATCH" else "")

    response = await ana.request(method, path, json={"body": body})

    assert response.status_code == 422
    assert [error["field"] for error in response.json()["errors"]] == ["body"]
    assert await items_on(lesson, ana) == [said]


async def test_a_twenty_first_comment_within_a_minute_is_too_many(school: School, lesson: Lesson) -> None:
    ana, ben = await school.person(), await school.person()
    for _ in range(20):
        await say(ana, lesson)

    response = await ana.post(comments_on(lesson), {"body": "One more."})

    assert response.status_code == 429
    assert response.json()["detail"] == "You wrote many comments. Try again in 60 seconds."
    await say(ben, lesson)


# Saying it twice


async def test_ten_at_once_with_one_key_say_it_once(school: School, lesson: Lesson) -> None:
    ana = await school.person()
    body = {"body": "Once.", "key": str(uuid4())}

    replies = await asyncio.gather(*(ana.post(comments_on(lesson), body) for _ in range(10)))

    assert [reply.status_code for reply in replies] == [201] * 10
    assert all(reply.json() == replies[0].json() for reply in replies)
    assert await items_on(lesson, ana) == [replies[0].json()]


async def test_without_a_key_it_is_said_twice(school: School, lesson: Lesson) -> None:
    ana = await school.person()

    await say(ana, lesson, "Again!")
    await say(ana, lesson, "Again!")

    assert [item["body"] for item in await items_on(lesson, ana)] == ["Again!", "Again!"]


async def test_a_key_is_its_authors_own(school: School, lesson: Lesson) -> None:
    """Someone else's key neither shows nor hinders anything."""
    ana, ben = await school.person(), await school.person()
    key = str(uuid4())
    await say(ana, lesson, "Ana's", key=key)

    said = [await say(ben, lesson, "Ben's", key=key) for _ in range(2)]
    again = await say(ana, lesson, "Ana's", key=key)

    assert said[0] == said[1]
    assert [(one["body"], one["author"]["id"]) for one in (said[0], again)] == [
        ("Ben's", str(ben.user_id)),
        ("Ana's", str(ana.user_id)),
    ]
    assert [item["body"] for item in await items_on(lesson, ana)] == ["Ben's", "Ana's"]


async def test_a_key_used_elsewhere_or_removed_since_is_a_conflict(school: School, lesson: Lesson) -> None:
    ana = await school.person()
    [other] = await school.lessons_of(await school.world(lessons=1))
    removed, elsewhere = str(uuid4()), str(uuid4())
    said = await say(ana, lesson, key=removed)
    await ana.delete(f"{comments_on(lesson)}/{said['id']}")
    await say(ana, other, key=elsewhere)

    responses = [await ana.post(comments_on(lesson), {"body": "x", "key": key}) for key in (removed, elsewhere)]

    assert [(response.status_code, response.json()["code"]) for response in responses] == [(409, "key_used")] * 2
    assert await items_on(lesson, ana) == []


# Replying


async def test_a_reply_stands_under_its_comment(school: School, lesson: Lesson) -> None:
    ana, ben = await school.person(), await school.person()
    said = await say(ana, lesson)

    reply = await say(ben, lesson, "Thanks!", parent_id=said["id"])

    assert (reply["parent_id"], reply["reply_count"], reply["replies"]) == (said["id"], 0, [])
    [shown] = await items_on(lesson, ana)
    fields = {name: value for name, value in reply.items() if name not in {"reply_count", "replies"}}
    assert (shown["reply_count"], shown["replies"]) == (1, [fields | {"is_own": False}])


async def test_a_reply_to_a_reply_is_refused(school: School, lesson: Lesson) -> None:
    ana = await school.person()
    said = await say(ana, lesson)
    reply = await say(ana, lesson, parent_id=said["id"])

    response = await ana.post(comments_on(lesson), {"body": "Deeper.", "parent_id": reply["id"]})

    assert (response.status_code, response.json()["code"]) == (409, "reply_to_reply")
    assert response.json()["detail"] == "This is a reply itself: reply to the comment above it."


async def test_what_is_not_on_the_lesson_has_no_replies(school: School, lesson: Lesson) -> None:
    """A comment on another lesson and a removed one look like one that never was."""
    ana = await school.person()
    [other] = await school.lessons_of(await school.world(lessons=1))
    elsewhere, removed = await say(ana, other), await say(ana, lesson)
    await say(ana, other, parent_id=elsewhere["id"])
    await ana.delete(f"{comments_on(lesson)}/{removed['id']}")
    before = await rows(school)

    replies = [
        await ana.post(comments_on(lesson), {"body": "x", "parent_id": str(parent_id)})
        for parent_id in (uuid4(), elsewhere["id"], removed["id"])
    ]

    assert [reply.status_code for reply in replies] == [404] * 3
    assert len({reply.json()["detail"] for reply in replies}) == 1
    assert await items_on(lesson, ana, parent_id=elsewhere["id"]) == []
    assert await rows(school) == before
