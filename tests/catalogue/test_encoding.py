"""Responses that are encoded in parts have exactly the fields of the structs by which they are documented."""

from typing import Any

import httpx
import msgspec
import pytest
from litestar import Litestar
from litestar.routes import HTTPRoute

from factories import Caller, School
from mambo.courses.models import Lesson
from mambo.web.responses import BytesResponse
from support.catalogue import PAID
from support.comments import post_comment
from support.quizzes import QUIZ

ROUTES = {
    "courses": ("GET", "/api/courses/worlds"),
    "lessons": ("GET", "/api/courses/worlds/{world_id}/lessons"),
    "lesson": ("GET", "/api/courses/lessons/{lesson_id}"),
    "completion": ("POST", "/api/courses/lessons/{lesson_id}/complete"),
    "progress": ("GET", "/api/progress/me"),
    "profile": ("GET", "/api/auth/me"),
}


def documented_type(app: Litestar, method: str, template: str) -> Any:
    """Return the type that the route's documentation describes."""
    [route] = [one for one in app.routes if isinstance(one, HTTPRoute) and one.path_format == template]
    handler, _ = route.route_handler_map[method]  # type: ignore[index]
    returned = handler.parsed_fn_signature.return_type.annotation
    return handler.responses[200].data_container if returned is BytesResponse else returned  # type: ignore[index]


@pytest.fixture
async def lesson(school: School) -> Lesson:
    """A lesson that has everything a lesson can have, between two others."""
    world = await school.world(lessons=1, is_free=False)
    level = await school.level(world)
    content = {"notes": "Listen first.", "quiz": QUIZ, "blocks": [{"type": "text", "content": "One."}]}
    lesson = await school.lesson(level, content_json=content, duration_seconds=61.0, week_number=1, **PAID)
    await school.lesson(level, week_number=2)
    return lesson


@pytest.fixture
async def readers(school: School, client: httpx.AsyncClient, lesson: Lesson) -> dict[str, Caller | httpx.AsyncClient]:
    subscriber = await school.person(subscribed=True)
    comment = await post_comment(subscriber, lesson, "Where is the weight on 6?")
    await post_comment(subscriber, lesson, "On the left foot.", parent_id=comment["id"])
    return {
        "subscriber": subscriber,
        "learner": await school.person(),
        "staff": await school.instructor(),
        "visitor": client,
    }


@pytest.mark.parametrize("name", ROUTES)
async def test_a_response_has_the_fields_of_its_documented_struct(
    app: Litestar, lesson: Lesson, readers: dict[str, Caller | httpx.AsyncClient], name: str
) -> None:
    """Decoding it as that struct and encoding it again loses nothing, before and after the lesson is completed."""
    method, template = ROUTES[name]
    kind = documented_type(app, method, template)
    path = template.format(world_id=lesson.world_id, lesson_id=lesson.id)
    decoded = []
    for _ in range(2):
        for reader in readers.values():
            response = await reader.request(method, path)
            if response.status_code == 200:
                body = msgspec.json.decode(response.content)
                assert msgspec.to_builtins(msgspec.json.decode(response.content, type=kind)) == body
                decoded.append(body)
        subscriber = readers["subscriber"]
        assert (await subscriber.request("POST", f"/api/courses/lessons/{lesson.id}/complete")).status_code == 200

    assert len(decoded) >= 4
