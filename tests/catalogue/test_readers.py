"""What is kept in memory for one reader never reaches another."""

import asyncio
from uuid import UUID

import httpx
import pytest
from litestar import Litestar

from factories import Caller, School, calling
from mambo.web.principal import Role
from support.catalogue import PAID, WORLDS, Course, complete, lesson_path, lessons_path, update_lesson
from support.quizzes import QUIZ


async def test_one_learners_completions_never_show_to_another(school: School, worker: Litestar, course: Course) -> None:
    """Two learners read three pages in turns, fifty times each."""
    completed = {"ana": course.lessons[:1], "ben": course.lessons[1:]}
    readers = {name: calling(worker, await school.person()) for name in completed}
    for name, lessons in completed.items():
        for lesson in lessons:
            await complete(readers[name], lesson)

    async def read(name: str) -> tuple[str, list[UUID], float, bool]:
        listed = (await readers[name].get(lessons_path(course.world))).json()
        [world] = (await readers[name].get(WORLDS)).json()
        lesson = (await readers[name].get(lesson_path(course.lessons[0]))).json()
        ids = [UUID(one["id"]) for one in listed if one["is_completed"]]
        return name, ids, world["progress_percentage"], lesson["is_completed"]

    seen = await asyncio.gather(*(read(name) for name in ["ana", "ben"] * 50))

    anas, bens = ([lesson.id for lesson in completed[name]] for name in ("ana", "ben"))
    assert [one for one in seen if one[0] == "ana"] == [("ana", anas, 25.0, True)] * 50
    assert [one for one in seen if one[0] == "ben"] == [("ben", bens, 75.0, False)] * 50


async def test_a_learner_sees_each_completion_at_once(school: School, worker: Litestar, course: Course) -> None:
    learner = calling(worker, await school.person())

    seen = []
    for lesson in course.lessons:
        await complete(learner, lesson)
        listed = (await learner.get(lessons_path(course.world))).json()
        [world] = (await learner.get(WORLDS)).json()
        seen.append((sum(one["is_completed"] for one in listed), world["progress_percentage"]))

    assert seen == [(1, 25.0), (2, 50.0), (3, 75.0), (4, 100.0)]


READERS = ["staff", "subscriber", "learner", "visitor"]


@pytest.mark.parametrize("order", [READERS, READERS[::-1], ["learner", "staff", "visitor", "subscriber"]], ids="-".join)
async def test_a_lesson_encoded_for_one_kind_of_reader_never_reaches_another(
    school: School, worker: Litestar, visitor: httpx.AsyncClient, order: list[str]
) -> None:
    """Staff see the correct options of a quiz, subscribers the quiz, and others no content, in any order of reading."""
    world = await school.world(is_free=False)
    lesson = await school.lesson(await school.level(world), content_json={"quiz": QUIZ}, **PAID)
    readers: dict[str, Caller | httpx.AsyncClient] = {
        "staff": calling(worker, await school.person(Role.INSTRUCTOR)),
        "subscriber": calling(worker, await school.person(subscribed=True)),
        "learner": calling(worker, await school.person()),
        "visitor": visitor,
    }

    shown = {}
    for name in order * 2:
        pages = [await readers[name].get(path) for path in (lessons_path(world), lesson_path(lesson))]
        words = ("isCorrect", "the tumbao", "Where is beat", PAID["video_url"])
        shown[name] = [[word for word in words if word in page.text] for page in pages]

    assert shown == {
        "staff": [["isCorrect", "the tumbao", "Where is beat", PAID["video_url"]]] * 2,
        "subscriber": [["Where is beat", PAID["video_url"]]] * 2,
        "learner": [[], []],
        "visitor": [[], []],
    }


async def test_unreadable_content_is_left_out_of_its_own_lesson_alone(
    school: School, worker: Litestar, course: Course, caplog: pytest.LogCaptureFixture
) -> None:
    """The API refuses such content, so it was stored in another way. It is logged."""
    good, bad, *_ = course.lessons
    await update_lesson(school, good, content_json={"notes": "Good."})
    await update_lesson(school, bad, content_json={"quiz": "none"})
    learner = calling(worker, await school.person())

    listed = (await learner.get(lessons_path(course.world))).json()

    assert [lesson["content_json"] for lesson in listed] == [{"notes": "Good."}, None, None, None]
    assert (await learner.get(lesson_path(bad))).json()["content_json"] is None
    assert (await complete(learner, bad)).json()["quiz_passed"] is None
    assert [record for record in caplog.records if str(bad.id) in str(record.msg)]
