"""Changing and removing comments, also concurrently."""

import asyncio
from uuid import uuid4

import sqlalchemy as sa

from conftest import TurnableClock
from factories import School
from mambo.comments.models import Comment
from mambo.courses.models import Lesson
from support.comments import comments_path, get_comments, get_rows, post_comment

# Changing


async def test_an_author_changes_their_comment(school: School, lesson: Lesson, clock: TurnableClock) -> None:
    """`edited_at` is the time of the change; a change to the same text changes nothing."""
    ana = await school.person()
    comment = await post_comment(ana, lesson, "Beatiful!")
    path = f"{comments_path(lesson)}/{comment['id']}"
    clock.now = clock.now.replace(minute=5)

    changed = await ana.patch(path, {"body": "Beautiful!"})
    clock.now = clock.now.replace(minute=6)
    again = await ana.patch(path, {"body": "Beautiful!"})

    assert changed.status_code == 200
    assert changed.json() == comment | {"body": "Beautiful!", "edited_at": "2026-03-02T12:05:00Z"}
    assert again.json() == changed.json()
    assert await get_comments(lesson, ana) == [changed.json()]


async def test_only_the_author_changes_a_comment(school: School, lesson: Lesson) -> None:
    """Staff may not either."""
    ana, others = await school.person(), [await school.person(), await school.instructor(), await school.admin()]
    comment = await post_comment(ana, lesson)
    before = await get_rows(school)

    responses = [await other.patch(f"{comments_path(lesson)}/{comment['id']}", {"body": "x"}) for other in others]

    assert [(response.status_code, response.json()["code"]) for response in responses] == [(403, "not_allowed")] * 3
    assert await get_rows(school) == before


# Removing


async def test_a_removed_comment_is_not_listed_and_its_text_is_deleted(school: School, lesson: Lesson) -> None:
    ana = await school.person()
    comment = await post_comment(ana, lesson, "Sorry about this.")
    path = f"{comments_path(lesson)}/{comment['id']}"

    removed, again, changed = await ana.delete(path), await ana.delete(path), await ana.patch(path, {"body": "x"})

    assert [response.status_code for response in (removed, again, changed)] == [204, 404, 404]
    assert await get_comments(lesson, ana) == []
    assert await school.scalar(sa.select(Comment.body)) is None


async def test_a_removed_comment_is_listed_while_it_has_replies(school: School, lesson: Lesson) -> None:
    ana, ben = await school.person(), await school.person()
    comment = await post_comment(ana, lesson)
    replies = [await post_comment(ben, lesson, parent_id=comment["id"]) for _ in range(2)]
    await ana.delete(f"{comments_path(lesson)}/{comment['id']}")
    [kept] = await get_comments(lesson, ana)

    await ben.delete(f"{comments_path(lesson)}/{replies[0]['id']}")
    [less] = await get_comments(lesson, ben)
    await ben.delete(f"{comments_path(lesson)}/{replies[1]['id']}")

    assert (kept["body"], kept["author"], kept["is_own"], kept["is_removed"]) == (None, None, False, True)
    assert [reply["id"] for reply in kept["replies"]] == [reply["id"] for reply in replies]
    assert (less["reply_count"], [reply["id"] for reply in less["replies"]]) == (1, [replies[1]["id"]])
    assert await get_comments(lesson, ana) == []


async def test_staff_remove_any_comment_and_a_learner_only_their_own(school: School, lesson: Lesson) -> None:
    ana, ben = await school.person(), await school.person()
    comments = [await post_comment(ana, lesson) for _ in range(2)]
    paths = [f"{comments_path(lesson)}/{comment['id']}" for comment in comments]
    before = await get_rows(school)

    refused = await ben.delete(paths[0])
    unchanged = await get_rows(school)
    removed = [
        await staff.delete(path)
        for staff, path in zip((await school.instructor(), await school.admin()), paths, strict=True)
    ]

    assert (refused.status_code, refused.json()["code"]) == (403, "not_allowed")
    assert unchanged == before
    assert [response.status_code for response in removed] == [204, 204]
    assert await get_comments(lesson, ana) == []


async def test_a_comment_exists_only_under_its_own_lesson(school: School, lesson: Lesson) -> None:
    """Under another lesson it looks like an unknown id, even to its author."""
    ana = await school.person()
    [other] = await school.lessons_of(await school.world(lessons=1))
    comment = await post_comment(ana, other)
    before = await get_rows(school)

    responses = [
        await ana.request(method, f"{comments_path(lesson)}/{comment_id}", json=body)
        for method, body in (("PATCH", {"body": "x"}), ("DELETE", None))
        for comment_id in (comment["id"], uuid4())
    ]

    assert {response.status_code for response in responses} == {404}
    assert len({str(response.json() | {"request_id": None}) for response in responses}) == 1
    assert await get_rows(school) == before


# Concurrently


async def test_of_ten_concurrent_removals_one_succeeds(school: School, lesson: Lesson) -> None:
    ana = await school.person()
    comment = await post_comment(ana, lesson)

    replies = await asyncio.gather(*(ana.delete(f"{comments_path(lesson)}/{comment['id']}") for _ in range(10)))

    assert sorted(reply.status_code for reply in replies) == [204] + [404] * 9


async def test_a_concurrent_change_and_removal_end_in_the_removal(school: School, lesson: Lesson) -> None:
    ana = await school.person()
    paths = [f"{comments_path(lesson)}/{(await post_comment(ana, lesson))['id']}" for _ in range(10)]

    replies = await asyncio.gather(
        *(call for path in paths for call in (ana.patch(path, {"body": "x"}), ana.delete(path)))
    )

    assert {reply.status_code for reply in replies[::2]} <= {200, 404}
    assert [reply.status_code for reply in replies[1::2]] == [204] * 10
    assert await get_comments(lesson, ana) == []


async def test_a_concurrent_reply_and_removal_leave_no_reply_without_its_comment(
    school: School, lesson: Lesson
) -> None:
    """The reply is refused, or listed under the removed comment."""
    ana, ben = await school.person(), await school.person()
    comments = [await post_comment(ana, lesson) for _ in range(10)]

    calls = [
        call
        for comment in comments
        for call in (
            ana.delete(f"{comments_path(lesson)}/{comment['id']}"),
            ben.post(comments_path(lesson), {"body": "x", "parent_id": comment["id"]}),
        )
    ]
    replies = (await asyncio.gather(*calls))[1::2]

    assert {reply.status_code for reply in replies} <= {201, 404}
    parents = [reply.json()["parent_id"] for reply in replies if reply.status_code == 201]
    assert [item["id"] for item in await get_comments(lesson, ana)] == sorted(parents, reverse=True)
