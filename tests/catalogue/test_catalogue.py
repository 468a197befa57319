"""What visitors see of courses: order, locks, progress, neighbours."""

from typing import Any
from uuid import uuid4

import httpx
import pytest

from factories import Caller, School
from mambo.catalogue.schemas import LessonDetail
from mambo.courses.models import Lesson

SECRET = {
    "video_url": "https://v.example/1",
    "mux_playback_id": "p1",
    "mux_asset_id": "a1",
    "content_json": {"notes": "worth paying for"},
}


async def test_the_list_of_courses_holds_the_published_ones_in_order(school: School, client: httpx.AsyncClient) -> None:
    second = await school.world(order_index=2, lessons=3, is_free=False)
    await school.world(order_index=0, is_published=False)
    first = await school.world(order_index=1, title="First", description="d", image_url="https://x.example/i.png")

    response = await client.get("/api/courses/worlds")

    assert [world["id"] for world in response.json()] == [str(first.id), str(second.id)]
    assert response.json()[0] == {
        "id": str(first.id),
        "title": "First",
        "description": "d",
        "slug": first.slug,
        "image_url": "https://x.example/i.png",
        "thumbnail_url": None,
        "difficulty": "Beginner",
        "is_free": True,
        "lesson_count": 0,
        "progress_percentage": 0.0,
        "is_locked": False,
    }
    assert (response.json()[1]["lesson_count"], response.json()[1]["is_locked"]) == (3, True)


async def test_progress_in_the_lists_is_the_learners_own(school: School) -> None:
    world = await school.world(lessons=3)
    lessons = await school.lessons_of(world)
    ana, ben = await school.person(), await school.person()
    await ana.post(f"/api/courses/lessons/{lessons[0].id}/complete")

    [anas] = (await ana.get("/api/courses/worlds")).json()
    [bens] = (await ben.get("/api/courses/worlds")).json()

    assert (anas["progress_percentage"], bens["progress_percentage"]) == (33.3, 0.0)
    listed = (await ana.get(f"/api/courses/worlds/{world.id}/lessons")).json()
    assert [lesson["is_completed"] for lesson in listed] == [True, False, False]


async def test_lessons_are_in_order_of_week_day_position_and_id_across_levels(school: School) -> None:
    """A missing week or day comes first, and the neighbours follow the same order."""
    world = await school.world()
    one, two = await school.level(world, order_index=1), await school.level(world, order_index=0)
    places = [
        (one, None, None, 9),
        (two, None, 1, 0),
        (one, 1, None, 5),
        (two, 1, 1, 1),
        (one, 1, 1, 2),
        (two, 2, 1, 0),
    ]
    lessons = [
        await school.lesson(level, week_number=week, day_number=day, order_index=index)
        for level, week, day, index in reversed(places)
    ][::-1]
    twins = sorted([await school.lesson(one, week_number=3, order_index=0) for _ in range(2)], key=lambda row: row.id)
    order = [str(lesson.id) for lesson in [*lessons, *twins]]
    ana = await school.person()

    listed = (await ana.get(f"/api/courses/worlds/{world.id}/lessons")).json()

    assert [lesson["id"] for lesson in listed] == order
    details = [(await ana.get(f"/api/courses/lessons/{lesson}")).json() for lesson in order]
    assert [detail["next_lesson_id"] for detail in details] == [*order[1:], None]
    assert [detail["prev_lesson_id"] for detail in details] == [None, *order[:-1]]


async def test_a_lesson_has_all_its_fields(school: School) -> None:
    world = await school.world()
    level = await school.level(world)
    lesson = await school.lesson(
        level, title="T", description="d", order_index=4, week_number=1, day_number=2, duration_minutes=7, **SECRET
    )
    ana = await school.person()

    response = await ana.get(f"/api/courses/lessons/{lesson.id}")

    expected: dict[str, Any] = SECRET | {
        "id": str(lesson.id),
        "world_id": str(world.id),
        "level_id": str(level.id),
        "title": "T",
        "description": "d",
        "xp_value": 50,
        "order_index": 4,
        "week_number": 1,
        "day_number": 2,
        "is_completed": False,
        "is_locked": False,
        "is_boss_battle": False,
        "duration_minutes": 7,
        "thumbnail_url": None,
        "next_lesson_id": None,
        "prev_lesson_id": None,
        "comments": [],
    }
    assert response.json().items() >= expected.items()
    assert set(response.json()) == set(LessonDetail.__struct_fields__)


@pytest.fixture
async def paid_lesson(school: School) -> Lesson:
    world = await school.world(is_free=False)
    return await school.lesson(await school.level(world), duration_minutes=9, **SECRET)


async def test_a_locked_lesson_is_listed_without_anything_that_is_paid_for(
    school: School, client: httpx.AsyncClient, paid_lesson: Lesson
) -> None:
    ana = await school.person()

    responses = [await reader.get(f"/api/courses/worlds/{paid_lesson.world_id}/lessons") for reader in (client, ana)]

    for response in responses:
        [lesson] = response.json()
        assert (lesson["title"], lesson["duration_minutes"]) == (paid_lesson.title, 9)
        assert lesson["is_locked"] is True
        assert (lesson["content_json"], lesson["video_url"]) == (None, "")
        assert (lesson["mux_playback_id"], lesson["mux_asset_id"]) == (None, None)
        assert "worth paying for" not in response.text


async def test_a_locked_lesson_cannot_be_read_or_completed(school: School, paid_lesson: Lesson) -> None:
    ana = await school.person()

    reading = await ana.get(f"/api/courses/lessons/{paid_lesson.id}")
    completing = await ana.post(f"/api/courses/lessons/{paid_lesson.id}/complete")

    assert (reading.status_code, reading.json()["code"]) == (403, "locked")
    assert (completing.status_code, completing.json()["code"]) == (403, "locked")
    assert (await ana.get("/api/users/me")).json()["xp"] == 0


async def test_a_subscription_opens_a_course_that_is_not_free(school: School, paid_lesson: Lesson) -> None:
    ana = await school.person(subscribed=True)

    response = await ana.get(f"/api/courses/lessons/{paid_lesson.id}")

    assert response.json()["content_json"] == SECRET["content_json"]
    assert (await ana.post(f"/api/courses/lessons/{paid_lesson.id}/complete")).status_code == 200
    [world] = (await ana.get("/api/courses/worlds")).json()
    assert (world["is_locked"], world["progress_percentage"]) == (False, 100.0)


async def test_a_draft_exists_for_staff_alone(school: School, client: httpx.AsyncClient) -> None:
    """Apart from the request's id, the response is the same as for an id that does not exist."""
    draft = await school.world(lessons=1, is_published=False)
    [lesson] = await school.lessons_of(draft)
    ana, instructor = await school.person(subscribed=True), await school.instructor()

    async def get_all(reader: Caller, world_id: Any, lesson_id: Any) -> list[Any]:
        responses = [
            await reader.get(f"/api/courses/worlds/{world_id}/lessons"),
            await reader.get(f"/api/courses/lessons/{lesson_id}"),
            await reader.post(f"/api/courses/lessons/{lesson_id}/complete"),
        ]
        return [(response.status_code, response.json() | {"request_id": None}) for response in responses]

    hidden = await get_all(ana, draft.id, lesson.id)
    assert hidden == await get_all(ana, uuid4(), uuid4())
    assert [status for status, _ in hidden] == [404, 404, 404]
    assert (await client.get(f"/api/courses/worlds/{draft.id}/lessons")).status_code == 404
    assert (await instructor.get(f"/api/courses/worlds/{draft.id}/lessons")).status_code == 200
    assert (await instructor.get(f"/api/courses/lessons/{lesson.id}")).status_code == 200
