"""Who comes in where people talk, and what stays when people and lessons go."""

import asyncio
from uuid import uuid4

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncEngine

from comments.test_saying import comments_on, items_on, rows, say
from factories import School
from mambo.comments.models import Comment
from mambo.courses.models import Lesson
from mambo.users.models import User

# Access

CALLS = [("GET", ""), ("POST", ""), ("PATCH", "/{id}"), ("DELETE", "/{id}")]


@pytest.mark.parametrize("call", CALLS, ids=[method for method, _ in CALLS])
async def test_the_lesson_is_the_door_to_what_is_said_about_it(
    school: School, lesson: Lesson, call: tuple[str, str]
) -> None:
    """Locked is 403 and a draft 404, as a lesson that never was; also to whoever wrote there before."""
    ana = await school.person()
    [locked] = await school.lessons_of(await school.world(lessons=1, is_free=False))
    [draft] = await school.lessons_of(await school.world(lessons=1, is_published=False))
    own = [Comment(lesson_id=row.id, author_id=ana.user_id, body="Mine.") for row in (locked, draft, lesson)]
    await school.add(*own)
    method, rest = call
    before = await rows(school)

    responses = [
        await ana.request(
            method,
            f"/api/courses/lessons/{lesson_id}/comments{rest.format(id=comment.id)}",
            json={"body": "x"} if method in {"POST", "PATCH"} else None,
        )
        for lesson_id, comment in zip((locked.id, draft.id, uuid4()), own, strict=True)
    ]

    assert [response.status_code for response in responses] == [403, 404, 404]
    assert responses[0].json()["code"] == "locked"
    assert responses[1].json() | {"request_id": None} == responses[2].json() | {"request_id": None}
    assert await rows(school) == before


async def test_a_subscriber_talks_about_a_paid_lesson_and_staff_about_a_draft(school: School) -> None:
    [paid] = await school.lessons_of(await school.world(lessons=1, is_free=False))
    [draft] = await school.lessons_of(await school.world(lessons=1, is_free=False, is_published=False))
    ana, instructor = await school.person(subscribed=True), await school.instructor()

    said = [await say(ana, paid), await say(instructor, draft)]

    assert [await items_on(paid, instructor), await items_on(draft, instructor)] == [
        [said[0] | {"is_own": False}],
        [said[1]],
    ]


# When people and lessons go


async def test_what_someone_said_stays_when_their_account_is_disabled(school: School, lesson: Lesson) -> None:
    ana, admin = await school.person(), await school.admin()
    said = await say(ana, lesson)

    await admin.patch(f"/api/admin/users/{ana.user_id}", {"is_active": False})

    assert await items_on(lesson, admin) == [said | {"is_own": False}]


async def test_what_someone_said_stays_as_someones_when_their_account_is_deleted(
    school: School, lesson: Lesson
) -> None:
    """And with it what others replied."""
    ana, ben = await school.person(), await school.person()
    said = await say(ana, lesson, "Ana's words.", key=str(uuid4()))
    reply = await say(ben, lesson, "Ben's words.", parent_id=said["id"])

    async with school.sessions() as session, session.begin():
        await session.execute(sa.delete(User).where(User.id == ana.user_id))

    [shown] = await items_on(lesson, ben)
    assert (shown["body"], shown["author"], shown["is_own"], shown["is_removed"]) == (
        "Ana's words.",
        None,
        False,
        False,
    )
    assert [shown_reply["id"] for shown_reply in shown["replies"]] == [reply["id"]]


async def test_a_deleted_lesson_takes_along_what_is_said_about_it(school: School, lesson: Lesson) -> None:
    ana, admin = await school.person(), await school.admin()
    [other] = await school.lessons_of(await school.world(lessons=1))
    said, stays = await say(ana, lesson), await say(ana, other)
    await say(ana, lesson, parent_id=said["id"])

    assert (await admin.delete(f"/api/admin/lessons/{lesson.id}")).status_code == 204

    assert [str(row[0]) for row in await rows(school)] == [stays["id"]]


async def test_talking_while_the_lesson_is_deleted_is_refused_or_goes_with_it(school: School, lesson: Lesson) -> None:
    """Nobody waits for the other in a circle (which would be 503), and nothing is left."""
    ana, admin = await school.person(), await school.admin()
    said = await say(ana, lesson)
    calls = [ana.post(comments_on(lesson), {"body": "x", "parent_id": said["id"]}) for _ in range(8)]
    calls.insert(4, admin.delete(f"/api/admin/lessons/{lesson.id}"))
    calls.append(ana.patch(f"{comments_on(lesson)}/{said['id']}", {"body": "x"}))

    statuses = [reply.status_code for reply in await asyncio.gather(*calls)]

    assert statuses.pop(4) == 204
    assert set(statuses) <= {200, 201, 404, 409}
    assert await rows(school) == set()


# What the database holds


@pytest.mark.parametrize(
    ("violation", "constraint"),
    [
        ("UPDATE comment SET body = ''", "ck_comment_body_length"),
        ("UPDATE comment SET body = repeat('é', 2001)", "ck_comment_body_length"),
        ("UPDATE comment SET removed_at = now()", "ck_comment_removed_without_body"),
        ("UPDATE comment SET body = NULL", "ck_comment_removed_without_body"),
        ("UPDATE comment SET parent_id = gen_random_uuid()", "fk_comment_parent"),
        ("UPDATE comment SET parent_id = (SELECT id FROM comment WHERE body = 'there') WHERE body = 'here'", "parent"),
        ("UPDATE comment SET lesson_id = gen_random_uuid()", "fk_comment_lesson_id_lesson"),
        ("DELETE FROM comment WHERE body = 'here'", "fk_comment_parent"),
    ],
)
async def test_the_database_refuses_a_comment_that_cannot_be(
    school: School, engine: AsyncEngine, lesson: Lesson, violation: str, constraint: str
) -> None:
    ana = await school.person()
    [other] = await school.lessons_of(await school.world(lessons=1))
    here = Comment(lesson_id=lesson.id, author_id=ana.user_id, body="here")
    await school.add(here, Comment(lesson_id=other.id, author_id=ana.user_id, body="there"))
    await school.add(Comment(lesson_id=lesson.id, author_id=ana.user_id, body="reply", parent_id=here.id))

    with pytest.raises(IntegrityError, match=constraint):
        async with engine.begin() as connection:
            await connection.execute(sa.text(violation))
