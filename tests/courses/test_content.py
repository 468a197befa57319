"""A lesson's content: what is good, and who sees the answers; who may see a lesson at all."""

from copy import deepcopy
from typing import Any
from uuid import UUID

import msgspec
import pytest
import sqlalchemy as sa

from factories import Caller, School
from mambo.access.rules import Access, access_to
from mambo.courses import rules
from mambo.courses.models import Lesson
from mambo.courses.schemas import LessonContent
from mambo.web.principal import Principal, Role

CONTENT: dict[str, Any] = {
    "notes": "# Basic step\n\nBreak on **two** — ¡vamos! 💃",
    "quiz": [
        {
            "id": "q1",
            "question": "On which beat do we break?",
            "options": [{"text": "one", "isCorrect": False}, {"text": "two", "isCorrect": True}, {"text": "three"}],
            "explanation": "Because of the *tumbao*.",
        },
        {"id": "q2", "question": "And back?", "options": [{"text": "six", "isCorrect": True}, {"text": "five"}]},
    ],
    "blocks": [
        {"type": "text", "content": "Listen first.", "format": "markdown", "id": "b1"},
        {"type": "text", "content": "explanation and isCorrect are words too"},
        {"type": "image", "url": "https://example.com/a.png", "alt": "Two dancers", "caption": "Palladium, 1950"},
        {"type": "video", "url": "https://example.com/v.m3u8", "caption": "Slow"},
        {"type": "video", "mux_playback_id": "playback", "id": "b2"},
    ],
}
QUESTION: dict[str, Any] = CONTENT["quiz"][0]
FOR_LEARNERS = CONTENT | {
    "quiz": [
        {
            "id": "q1",
            "question": "On which beat do we break?",
            "options": [{"text": "one"}, {"text": "two"}, {"text": "three"}],
        },
        {"id": "q2", "question": "And back?", "options": [{"text": "six"}, {"text": "five"}]},
    ]
}


async def lesson_with_content(school: School, **world: Any) -> Lesson:
    return await school.lesson(await school.level(await school.world(**world)), content_json=CONTENT)


async def seen_in_list_and_alone(reader: Caller, lesson: Lesson) -> list[Any]:
    """The lesson's content where a reader meets it."""
    [listed] = (await reader.get(f"/api/courses/worlds/{lesson.world_id}/lessons")).json()
    alone = (await reader.get(f"/api/courses/lessons/{lesson.id}")).json()
    return [listed["content_json"], alone["content_json"]]


# --- Writing ---


@pytest.mark.parametrize(
    "content", [CONTENT, {}, {"notes": ""}, {"quiz": [], "blocks": []}, *({part: CONTENT[part]} for part in CONTENT)]
)
async def test_good_content_comes_back_as_it_was_sent(school: School, content: dict[str, Any]) -> None:
    """From its making, its changing and its reading; what was not given is not made up."""
    world, admin = await school.world(), await school.admin()
    new = {"title": "Step", "order_index": 0, "content_json": content}

    created = (await admin.post(f"/api/admin/courses/{world.id}/lessons", new)).json()
    changed = (await admin.patch(f"/api/admin/lessons/{created['id']}", {"content_json": content})).json()

    read = (await admin.get(f"/api/admin/lessons/{created['id']}")).json()
    whole = (await admin.get(f"/api/admin/courses/{world.id}")).json()["levels"][0]["lessons"][0]
    assert [lesson["content_json"] for lesson in (created, changed, read, whole)] == [content] * 4


async def test_new_content_replaces_the_old_whole(school: School) -> None:
    lesson, admin = await lesson_with_content(school), await school.admin()

    await admin.patch(f"/api/admin/lessons/{lesson.id}", {"content_json": {"notes": "Only this"}})

    assert await school.scalar(sa.select(Lesson.content_json)) == {"notes": "Only this"}


BAD_CONTENT: list[tuple[dict[str, Any], str]] = [
    ({"notes": 1}, "notes"),
    ({"notes": "x" * 20_001}, "notes"),
    ({"note": "x"}, "note"),
    ({"quiz": {}}, "quiz"),
    ({"quiz": [QUESTION, QUESTION]}, "quiz"),
    ({"quiz": [QUESTION | {"id": str(number)} for number in range(51)]}, "quiz"),
    ({"quiz": [QUESTION | {"answer": 1}]}, "quiz[0].answer"),
    ({"quiz": [QUESTION | {"id": 1}]}, "quiz[0].id"),
    ({"quiz": [QUESTION | {"question": ""}]}, "quiz[0].question"),
    ({"quiz": [QUESTION | {"explanation": 1}]}, "quiz[0].explanation"),
    ({"quiz": [QUESTION | {"options": []}]}, "quiz[0].options"),
    ({"quiz": [QUESTION | {"options": [{"text": "one", "isCorrect": True}]}]}, "quiz[0].options"),
    ({"quiz": [QUESTION | {"options": [{"text": "one"}, {"text": "two"}]}]}, "quiz[0].options"),
    (
        {"quiz": [QUESTION, QUESTION | {"id": "q2", "options": [{"text": "one", "isCorrect": False}] * 2}]},
        "quiz[1].options",
    ),
    ({"quiz": [QUESTION | {"options": [{"text": ""}, {"text": "two", "isCorrect": True}]}]}, "quiz[0].options[0].text"),
    (
        {"quiz": [QUESTION | {"options": [{"text": "one"}, {"text": "two", "is_correct": True}]}]},
        "quiz[0].options[1].is_correct",
    ),
    (
        {"quiz": [QUESTION | {"options": [{"text": "one"}, {"text": "two", "isCorrect": "perhaps"}]}]},
        "quiz[0].options[1].isCorrect",
    ),
    ({"quiz": [{name: QUESTION[name] for name in ("id", "options")}]}, "quiz[0].question"),
    ({"quiz": [{name: QUESTION[name] for name in ("question", "options")}]}, "quiz[0].id"),
    ({"blocks": [{"type": "text", "content": "x"}, {"type": "audio", "url": "https://x.y/z"}]}, "blocks[1].type"),
    ({"blocks": [{"content": "x"}]}, "blocks[0].type"),
    ({"blocks": [{"type": "text"}]}, "blocks[0].content"),
    ({"blocks": [{"type": "text", "content": "x", "format": "html"}]}, "blocks[0].format"),
    ({"blocks": [{"type": "text", "content": "x", "url": "https://x.y/z"}]}, "blocks[0].url"),
    ({"blocks": [{"type": "image", "url": "javascript:alert(1)"}]}, "blocks[0].url"),
    ({"blocks": [{"type": "image"}]}, "blocks[0].url"),
    ({"blocks": [{"type": "video", "url": "x"}]}, "blocks[0].url"),
    ({"blocks": [{"type": "text", "content": "x"}] * 101}, "blocks"),
]


@pytest.mark.parametrize(("content", "path"), BAD_CONTENT, ids=lambda value: value if isinstance(value, str) else "")
async def test_bad_content_is_refused_with_the_path_to_what_is_wrong(
    school: School, content: dict[str, Any], path: str
) -> None:
    """In a change; the old content stays."""
    lesson, admin = await lesson_with_content(school), await school.admin()

    response = await admin.patch(f"/api/admin/lessons/{lesson.id}", {"content_json": content})

    assert (response.status_code, response.json()["errors"][0]["field"]) == (422, f"content_json.{path}")
    assert await school.scalar(sa.select(Lesson.content_json)) == CONTENT


@pytest.mark.parametrize(
    ("content", "path"),
    [
        ({"quiz": [QUESTION | {"options": [{"text": "one"}, {"text": "two"}]}]}, "quiz[0].options"),
        ({"quiz": [QUESTION, QUESTION]}, "quiz"),
        ({"blocks": [{"type": "audio"}]}, "blocks[0].type"),
    ],
)
async def test_bad_content_makes_no_lesson(school: School, content: dict[str, Any], path: str) -> None:
    """Nor the first level of an empty course."""
    world, admin = await school.world(), await school.admin()
    new = {"title": "Step", "order_index": 0, "content_json": content}

    response = await admin.post(f"/api/admin/courses/{world.id}/lessons", new)

    assert (response.status_code, response.json()["errors"][0]["field"]) == (422, f"content_json.{path}")
    assert (await admin.get(f"/api/admin/courses/{world.id}")).json()["levels"] == []


@pytest.mark.parametrize(
    ("content", "path"),
    [
        ({"notes": "\u0000"}, "notes"),
        ({"quiz": [QUESTION | {"question": "\u0000"}]}, "quiz[0].question"),
        ({"quiz": [QUESTION | {"id": "\u0000"}]}, "quiz[0].id"),
        ({"quiz": [QUESTION | {"options": [{"text": "\u0000"}, QUESTION["options"][1]]}]}, "quiz[0].options[0].text"),
        ({"blocks": [{"type": "image", "url": "https://x.y/z", "alt": "\u0000"}]}, "blocks[0].alt"),
    ],
)
async def test_what_the_database_cannot_store_is_refused_with_the_path_to_it(
    school: School, content: dict[str, Any], path: str
) -> None:
    """PostgreSQL's text and JSONB hold every character but NUL."""
    lesson, admin = await lesson_with_content(school), await school.admin()

    response = await admin.patch(f"/api/admin/lessons/{lesson.id}", {"content_json": content})

    assert (response.status_code, response.json().get("errors", [{}])[0].get("field")) == (
        422,
        f"content_json.{path}",
    )


# --- Reading ---


async def test_a_learner_sees_all_but_the_answers(school: School) -> None:
    lesson, learner = await lesson_with_content(school), await school.person()

    seen = await seen_in_list_and_alone(learner, lesson)

    assert seen == [FOR_LEARNERS, FOR_LEARNERS]


async def test_a_subscriber_and_whoever_has_completed_the_lesson_see_no_answers_either(school: School) -> None:
    lesson = await lesson_with_content(school, is_free=False)
    learner = await school.person(subscribed=True)
    await learner.post(f"/api/courses/lessons/{lesson.id}/complete")

    seen = await seen_in_list_and_alone(learner, lesson)

    assert seen == [FOR_LEARNERS, FOR_LEARNERS]


async def test_a_visitor_sees_no_answers(school: School) -> None:
    lesson = await lesson_with_content(school)

    [listed] = (await school.client.get(f"/api/courses/worlds/{lesson.world_id}/lessons")).json()

    assert listed["content_json"] == FOR_LEARNERS


@pytest.mark.parametrize("role", [Role.INSTRUCTOR, Role.ADMIN])
@pytest.mark.parametrize("is_published", [True, False])
async def test_staff_see_the_answers_also_in_drafts(school: School, role: Role, *, is_published: bool) -> None:
    lesson = await lesson_with_content(school, is_published=is_published, is_free=False)
    teacher = await school.person(role)

    seen = await seen_in_list_and_alone(teacher, lesson)

    assert seen == [CONTENT, CONTENT]


async def test_a_locked_lesson_shows_no_content_at_all(school: School) -> None:
    lesson, learner = await lesson_with_content(school, is_free=False), await school.person()

    response = await learner.get(f"/api/courses/worlds/{lesson.world_id}/lessons")

    assert [listed["content_json"] for listed in response.json()] == [None]
    assert "tumbao" not in response.text


# --- The rules alone ---


def someone(role: Role, *, is_subscribed: bool = False) -> Principal:
    return Principal(UUID(int=1), UUID(int=2), role, is_subscribed, "UTC")


VISITORS = {
    "anonymous": None,
    "learner": someone(Role.USER),
    "subscriber": someone(Role.USER, is_subscribed=True),
    "instructor": someone(Role.INSTRUCTOR),
    "admin": someone(Role.ADMIN),
}
OPEN, LOCKED, HIDDEN = Access.OPEN, Access.LOCKED, Access.HIDDEN
COURSES = ((True, True), (True, False), (False, True), (False, False))  # is it published, is it free
ACCESS = {
    "anonymous": (OPEN, LOCKED, HIDDEN, HIDDEN),
    "learner": (OPEN, LOCKED, HIDDEN, HIDDEN),
    "subscriber": (OPEN, OPEN, HIDDEN, HIDDEN),
    "instructor": (OPEN, OPEN, OPEN, OPEN),
    "admin": (OPEN, OPEN, OPEN, OPEN),
}


@pytest.mark.parametrize(
    ("visitor", "is_published", "is_free", "access"),
    [
        (visitor, *course, access)
        for visitor, answers in ACCESS.items()
        for course, access in zip(COURSES, answers, strict=True)
    ],
)
def test_access_follows_from_who_asks_and_what_the_course_is(
    visitor: str, access: Access, *, is_published: bool, is_free: bool
) -> None:
    assert access_to(VISITORS[visitor], is_published=is_published, is_free=is_free) is access


def test_content_without_answers_is_the_content_less_answers() -> None:
    content = msgspec.convert(CONTENT, LessonContent)

    shown = rules.without_answers(content)

    assert msgspec.to_builtins(shown) == FOR_LEARNERS


def test_taking_the_answers_out_leaves_the_original_whole() -> None:
    content = msgspec.convert(deepcopy(CONTENT), LessonContent)

    rules.without_answers(content)

    assert msgspec.to_builtins(content) == CONTENT


@pytest.mark.parametrize("content", [{}, {"notes": "x"}, {"quiz": []}, {"blocks": CONTENT["blocks"]}])
def test_content_that_asks_nothing_is_shown_as_it_is(content: dict[str, Any]) -> None:
    shown = rules.without_answers(msgspec.convert(content, LessonContent))

    assert msgspec.to_builtins(shown) == content
