"""Changing and removing what was said, also at the same moment."""

import asyncio
from uuid import uuid4

import sqlalchemy as sa

from comments.test_saying import comments_on, items_on, rows, say
from conftest import TurnableClock
from factories import School
from mambo.comments.models import Comment
from mambo.courses.models import Lesson

# Changing


async def test_ones_own_comment_is_put_into_other_words(school: School, lesson: Lesson, clock: TurnableClock) -> None:
    """It says when; the same words again change nothing."""
    ana = await school.person()
    said = await say(ana, lesson, "Beatiful!")
    path = f"{comments_on(lesson)}/{said['id']}"
    clock.now = clock.now.replace(minute=5)

    changed = await ana.patch(path, {"body": "Beautiful!"})
    clock.now = clock.now.replace(minute=6)
    again = await ana.patch(path, {"body": "Beautiful!"})

    assert changed.status_code == 200
    assert changed.json() == said | {"body": "Beautiful!", "edited_at": "2026-03-02T12:05:00Z"}
    assert again.json() == changed.json()
    assert await items_on(lesson, ana) == [changed.json()]


async def test_nobody_changes_someone_elses_words(school: School, lesson: Lesson) -> None:
    """Not even staff."""
    ana, others = await school.person(), [await school.person(), await school.instructor(), await school.admin()]
    said = await say(ana, lesson)
    before = await rows(school)

    responses = [await other.patch(f"{comments_on(lesson)}/{said['id']}", {"body": "x"}) for other in others]

    assert [(response.status_code, response.json()["code"]) for response in responses] == [(403, "not_allowed")] * 3
    assert await rows(school) == before


# Removing


async def test_a_removed_comment_is_gone_and_its_words_too(school: School, lesson: Lesson) -> None:
    ana = await school.person()
    said = await say(ana, lesson, "Sorry I said that.")
    path = f"{comments_on(lesson)}/{said['id']}"

    removed, again, changed = await ana.delete(path), await ana.delete(path), await ana.patch(path, {"body": "x"})

    assert [response.status_code for response in (removed, again, changed)] == [204, 404, 404]
    assert await items_on(lesson, ana) == []
    assert await school.scalar(sa.select(Comment.body)) is None


async def test_a_removed_comment_keeps_its_place_while_it_has_replies(school: School, lesson: Lesson) -> None:
    ana, ben = await school.person(), await school.person()
    said = await say(ana, lesson)
    replies = [await say(ben, lesson, parent_id=said["id"]) for _ in range(2)]
    await ana.delete(f"{comments_on(lesson)}/{said['id']}")
    [kept] = await items_on(lesson, ana)

    await ben.delete(f"{comments_on(lesson)}/{replies[0]['id']}")
    [less] = await items_on(lesson, ben)
    await ben.delete(f"{comments_on(lesson)}/{replies[1]['id']}")

    assert (kept["body"], kept["author"], kept["is_own"], kept["is_removed"]) == (None, None, False, True)
    assert [reply["id"] for reply in kept["replies"]] == [reply["id"] for reply in replies]
    assert (less["reply_count"], [reply["id"] for reply in less["replies"]]) == (1, [replies[1]["id"]])
    assert await items_on(lesson, ana) == []


async def test_staff_remove_anyones_comment_and_a_learner_does_not(school: School, lesson: Lesson) -> None:
    ana, ben = await school.person(), await school.person()
    said = [await say(ana, lesson) for _ in range(2)]
    paths = [f"{comments_on(lesson)}/{comment['id']}" for comment in said]
    before = await rows(school)

    refused = await ben.delete(paths[0])
    unchanged = await rows(school)
    removed = [
        await staff.delete(path)
        for staff, path in zip((await school.instructor(), await school.admin()), paths, strict=True)
    ]

    assert (refused.status_code, refused.json()["code"]) == (403, "not_allowed")
    assert unchanged == before
    assert [response.status_code for response in removed] == [204, 204]
    assert await items_on(lesson, ana) == []


async def test_a_comment_is_found_under_its_own_lesson_alone(school: School, lesson: Lesson) -> None:
    """Under another lesson it looks like one that never was, even to whoever wrote it."""
    ana = await school.person()
    [other] = await school.lessons_of(await school.world(lessons=1))
    said = await say(ana, other)
    before = await rows(school)

    responses = [
        await ana.request(method, f"{comments_on(lesson)}/{comment_id}", json=body)
        for method, body in (("PATCH", {"body": "x"}), ("DELETE", None))
        for comment_id in (said["id"], uuid4())
    ]

    assert {response.status_code for response in responses} == {404}
    assert len({str(response.json() | {"request_id": None}) for response in responses}) == 1
    assert await rows(school) == before


# At the same moment


async def test_ten_removals_at_once_remove_it_once(school: School, lesson: Lesson) -> None:
    ana = await school.person()
    said = await say(ana, lesson)

    replies = await asyncio.gather(*(ana.delete(f"{comments_on(lesson)}/{said['id']}") for _ in range(10)))

    assert sorted(reply.status_code for reply in replies) == [204] + [404] * 9


async def test_a_change_and_a_removal_at_once_end_in_the_removal(school: School, lesson: Lesson) -> None:
    ana = await school.person()
    paths = [f"{comments_on(lesson)}/{(await say(ana, lesson))['id']}" for _ in range(10)]

    replies = await asyncio.gather(
        *(call for path in paths for call in (ana.patch(path, {"body": "x"}), ana.delete(path)))
    )

    assert {reply.status_code for reply in replies[::2]} <= {200, 404}
    assert [reply.status_code for reply in replies[1::2]] == [204] * 10
    assert await items_on(lesson, ana) == []


async def test_a_reply_and_a_removal_at_once_leave_no_reply_alone(school: School, lesson: Lesson) -> None:
    """A reply is refused, or shown under the comment whose words are gone."""
    ana, ben = await school.person(), await school.person()
    said = [await say(ana, lesson) for _ in range(10)]

    calls = [
        call
        for comment in said
        for call in (
            ana.delete(f"{comments_on(lesson)}/{comment['id']}"),
            ben.post(comments_on(lesson), {"body": "x", "parent_id": comment["id"]}),
        )
    ]
    replies = (await asyncio.gather(*calls))[1::2]

    assert {reply.status_code for reply in replies} <= {201, 404}
    answered = [reply.json()["parent_id"] for reply in replies if reply.status_code == 201]
    assert [item["id"] for item in await items_on(lesson, ana)] == sorted(answered, reverse=True)
