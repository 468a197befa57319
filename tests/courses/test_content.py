"""The content of a lesson: validation, and who sees the answers to its quiz."""

from copy import deepcopy
from typing import Any

import msgspec
import pytest
import sqlalchemy as sa

from factories import Caller, School
from mambo.courses import rules
from mambo.courses.models import Lesson
from mambo.courses.schemas import LessonContent
from mambo.web.principal import Role

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


async def get_content(reader: Caller, lesson: Lesson) -> list[Any]:
    """The content of the lesson in the list of lessons, and in the lesson itself."""
    [listed] = (await reader.get(f"/api/courses/worlds/{lesson.world_id}/lessons")).json()
    alone = (await reader.get(f"/api/courses/lessons/{lesson.id}")).json()
    return [listed["content_json"], alone["content_json"]]


# --- Authoring ---


@pytest.mark.parametrize(
    "content", [CONTENT, {}, {"notes": ""}, {"quiz": [], "blocks": []}, *({part: CONTENT[part]} for part in CONTENT)]
)
async def test_valid_content_is_returned_as_it_was_sent(school: School, content: dict[str, Any]) -> None:
    """When it is created, changed and read; fields that were not sent are not added."""
    world, admin = await school.world(), await school.admin()
    new = {"title": "Step", "order_index": 0, "content_json": content}

    created = (await admin.post(f"/api/admin/courses/{world.id}/lessons", new)).json()
    changed = (await admin.patch(f"/api/admin/lessons/{created['id']}", {"content_json": content})).json()

    read = (await admin.get(f"/api/admin/lessons/{created['id']}")).json()
    whole = (await admin.get(f"/api/admin/courses/{world.id}")).json()["levels"][0]["lessons"][0]
    assert [lesson["content_json"] for lesson in (created, changed, read, whole)] == [content] * 4


async def test_new_content_replaces_all_of_the_old(school: School) -> None:
    lesson, admin = await lesson_with_content(school), await school.admin()

    await admin.patch(f"/api/admin/lessons/{lesson.id}", {"content_json": {"notes": "Only this"}})

    assert await school.scalar(sa.select(Lesson.content_json)) == {"notes": "Only this"}


INVALID_CONTENT: list[tuple[dict[str, Any], str]] = [
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


@pytest.mark.parametrize(("content", "path"), INVALID_CONTENT, ids=[path for _, path in INVALID_CONTENT])
async def test_the_path_of_an_invalid_field_is_named(school: School, content: dict[str, Any], path: str) -> None:
    """The old content stays."""
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
async def test_no_lesson_is_created_with_invalid_content(school: School, content: dict[str, Any], path: str) -> None:
    """The first level of an empty course is not created either."""
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
async def test_text_with_nul_is_refused(school: School, content: dict[str, Any], path: str) -> None:
    """PostgreSQL cannot store NUL in text or JSONB."""
    lesson, admin = await lesson_with_content(school), await school.admin()

    response = await admin.patch(f"/api/admin/lessons/{lesson.id}", {"content_json": content})

    assert (response.status_code, response.json().get("errors", [{}])[0].get("field")) == (
        422,
        f"content_json.{path}",
    )


# --- Readers ---


async def test_a_learner_sees_everything_but_the_answers(school: School) -> None:
    lesson, learner = await lesson_with_content(school), await school.person()

    seen = await get_content(learner, lesson)

    assert seen == [FOR_LEARNERS, FOR_LEARNERS]


async def test_a_subscriber_who_has_completed_the_lesson_sees_no_answers(school: School) -> None:
    lesson = await lesson_with_content(school, is_free=False)
    learner = await school.person(subscribed=True)
    await learner.post(f"/api/courses/lessons/{lesson.id}/complete")

    seen = await get_content(learner, lesson)

    assert seen == [FOR_LEARNERS, FOR_LEARNERS]


async def test_an_anonymous_visitor_sees_no_answers(school: School) -> None:
    lesson = await lesson_with_content(school)

    [listed] = (await school.client.get(f"/api/courses/worlds/{lesson.world_id}/lessons")).json()

    assert listed["content_json"] == FOR_LEARNERS


@pytest.mark.parametrize("role", [Role.INSTRUCTOR, Role.ADMIN])
@pytest.mark.parametrize("is_published", [True, False])
async def test_staff_see_the_answers(school: School, role: Role, *, is_published: bool) -> None:
    lesson = await lesson_with_content(school, is_published=is_published, is_free=False)
    staff = await school.person(role)

    seen = await get_content(staff, lesson)

    assert seen == [CONTENT, CONTENT]


async def test_a_locked_lesson_shows_no_content(school: School) -> None:
    lesson, learner = await lesson_with_content(school, is_free=False), await school.person()

    response = await learner.get(f"/api/courses/worlds/{lesson.world_id}/lessons")

    assert [listed["content_json"] for listed in response.json()] == [None]
    assert "tumbao" not in response.text


# --- Rules ---


def test_without_answers_removes_the_answers() -> None:
    content = msgspec.convert(CONTENT, LessonContent)

    result = rules.without_answers(content)

    assert msgspec.to_builtins(result) == FOR_LEARNERS


def test_without_answers_does_not_change_its_argument() -> None:
    content = msgspec.convert(deepcopy(CONTENT), LessonContent)

    rules.without_answers(content)

    assert msgspec.to_builtins(content) == CONTENT


@pytest.mark.parametrize("content", [{}, {"notes": "x"}, {"quiz": []}, {"blocks": CONTENT["blocks"]}])
def test_without_answers_keeps_content_without_questions(content: dict[str, Any]) -> None:
    result = rules.without_answers(msgspec.convert(content, LessonContent))

    assert msgspec.to_builtins(result) == content


@pytest.mark.parametrize(
    ("minutes", "video_seconds", "expected"),
    [
        (None, None, None),
        (7, None, 7),
        (7, 3000.0, 7),
        (0, 3000.0, 0),
        (None, 60.0, 1),
        (None, 60.1, 2),
        (None, 0.5, 1),
    ],
)
def test_minutes_are_those_of_the_author_or_of_the_video(
    minutes: int | None, video_seconds: float | None, expected: int | None
) -> None:
    assert rules.minutes_of(minutes, video_seconds) == expected
