"""Access to comments, and the deletion of accounts and lessons."""

import asyncio
from uuid import uuid4

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncEngine

from factories import School
from mambo.comments.models import Comment
from mambo.courses.models import Lesson
from mambo.users.models import User
from support.comments import comments_path, get_comments, get_rows, post_comment

# Access

CALLS = [("GET", ""), ("POST", ""), ("PATCH", "/{id}"), ("DELETE", "/{id}")]


@pytest.mark.parametrize("call", CALLS, ids=[method for method, _ in CALLS])
async def test_comments_have_the_access_of_their_lesson(school: School, lesson: Lesson, call: tuple[str, str]) -> None:
    """A locked lesson is 403, and a draft 404 like an unknown id; also for an author of comments on it."""
    ana = await school.person()
    [locked] = await school.lessons_of(await school.world(lessons=1, is_free=False))
    [draft] = await school.lessons_of(await school.world(lessons=1, is_published=False))
    own = [Comment(lesson_id=row.id, author_id=ana.user_id, body="Mine.") for row in (locked, draft, lesson)]
    await school.add(*own)
    method, rest = call
    before = await get_rows(school)

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
    assert await get_rows(school) == before


async def test_a_subscriber_comments_on_a_paid_lesson_and_staff_on_a_draft(school: School) -> None:
    [paid] = await school.lessons_of(await school.world(lessons=1, is_free=False))
    [draft] = await school.lessons_of(await school.world(lessons=1, is_free=False, is_published=False))
    ana, instructor = await school.person(subscribed=True), await school.instructor()

    on_paid, on_draft = await post_comment(ana, paid), await post_comment(instructor, draft)

    assert [await get_comments(paid, instructor), await get_comments(draft, instructor)] == [
        [on_paid | {"is_own": False}],
        [on_draft],
    ]


# Deletion


async def test_comments_of_a_disabled_account_stay(school: School, lesson: Lesson) -> None:
    ana, admin = await school.person(), await school.admin()
    comment = await post_comment(ana, lesson)

    await admin.patch(f"/api/admin/users/{ana.user_id}", {"is_active": False})

    assert await get_comments(lesson, admin) == [comment | {"is_own": False}]


async def test_comments_of_a_deleted_account_stay_without_an_author(school: School, lesson: Lesson) -> None:
    """The replies of others stay too."""
    ana, ben = await school.person(), await school.person()
    comment = await post_comment(ana, lesson, "Ana's text.", key=str(uuid4()))
    reply = await post_comment(ben, lesson, "Ben's text.", parent_id=comment["id"])

    async with school.sessions() as session, session.begin():
        await session.execute(sa.delete(User).where(User.id == ana.user_id))

    [shown] = await get_comments(lesson, ben)
    assert (shown["body"], shown["author"], shown["is_own"], shown["is_removed"]) == (
        "Ana's text.",
        None,
        False,
        False,
    )
    assert [shown_reply["id"] for shown_reply in shown["replies"]] == [reply["id"]]


async def test_a_lesson_is_deleted_with_its_comments(school: School, lesson: Lesson) -> None:
    ana, admin = await school.person(), await school.admin()
    [other] = await school.lessons_of(await school.world(lessons=1))
    comment, kept = await post_comment(ana, lesson), await post_comment(ana, other)
    await post_comment(ana, lesson, parent_id=comment["id"])

    assert (await admin.delete(f"/api/admin/lessons/{lesson.id}")).status_code == 204

    assert [str(row[0]) for row in await get_rows(school)] == [kept["id"]]


async def test_comments_created_while_the_lesson_is_deleted_are_refused_or_deleted(
    school: School, lesson: Lesson
) -> None:
    """There is no deadlock, which would be 503."""
    ana, admin = await school.person(), await school.admin()
    comment = await post_comment(ana, lesson)
    calls = [ana.post(comments_path(lesson), {"body": "x", "parent_id": comment["id"]}) for _ in range(8)]
    calls.insert(4, admin.delete(f"/api/admin/lessons/{lesson.id}"))
    calls.append(ana.patch(f"{comments_path(lesson)}/{comment['id']}", {"body": "x"}))

    statuses = [reply.status_code for reply in await asyncio.gather(*calls)]

    assert statuses.pop(4) == 204
    assert set(statuses) <= {200, 201, 404, 409}
    assert await get_rows(school) == set()


# Constraints


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
async def test_the_database_refuses_an_invalid_comment(
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
