"""Two worker processes count, limit and pay attempts like one."""

import asyncio
from collections.abc import Callable
from typing import Any, NamedTuple

import httpx
import pytest

from support.processes import Served, call_every_worker, query, serve

AT_ONCE = 50
FREE_QUIZZES = """
    SELECT lesson.id::text, content_json->'quiz' FROM lesson JOIN world ON world.id = world_id
    WHERE is_free AND content_json ? 'quiz' ORDER BY lesson.id LIMIT 5
"""


class Rush(NamedTuple):
    """The responses to 50 concurrent passes of each quiz, sent to two workers with a limit of 40."""

    database_url: str
    lessons: list[str]
    replies: dict[str, list[httpx.Response]]


@pytest.fixture(scope="module")
async def rush(make_database: Callable[[str], Any], tmp_path_factory: pytest.TempPathFactory) -> Rush:
    url: str = await make_database("quizzed_by_workers")
    environ = {"DATABASE_URL": url, "LIMIT_QUIZ": "40/hour"}
    async with serve(tmp_path_factory.mktemp("workers"), "--workers", "2", environ=environ) as served:
        await call_every_worker(served, workers=2)
        quizzes = await query(url, FREE_QUIZZES)
        return Rush(url, [lesson for lesson, _ in quizzes], await pass_concurrently(served, dict(quizzes)))


async def pass_concurrently(served: Served, quizzes: dict[str, Any]) -> dict[str, list[httpx.Response]]:
    """Pass each quiz as a new learner, over 50 new connections concurrently."""
    account = {"email": "quick@example.com", "password": "on two since 1986", "first_name": "Ana", "last_name": "Ruiz"}
    async with served.client() as client:
        token = (await client.post("/api/auth/register", json=account)).json()["access_token"]
    replies = {}
    for lesson, quiz in quizzes.items():
        limits, header = httpx.Limits(max_connections=AT_ONCE), {"Authorization": f"Bearer {token}"}
        async with served.client(limits=limits, headers=header) as client:
            requests = [
                client.post(f"/api/courses/lessons/{lesson}/quiz", json={"answers": correct_options(quiz)})
                for _ in range(AT_ONCE)
            ]
            replies[lesson] = await asyncio.gather(*requests)
    return replies


def correct_options(quiz: list[dict[str, Any]]) -> dict[str, int]:
    return {
        question["id"]: next(n for n, option in enumerate(question["options"]) if option.get("isCorrect"))
        for question in quiz
    }


async def test_concurrent_passes_are_numbered_without_gaps_up_to_the_limit(rush: Rush) -> None:
    assert len(rush.lessons) > 2
    for replies in rush.replies.values():
        assert sorted(reply.status_code for reply in replies) == [200] * 40 + [429] * 10
        assert sorted(reply.json()["attempt"] for reply in replies if reply.is_success) == list(range(1, 41))


async def test_each_quiz_is_paid_once(rush: Rush) -> None:
    paid = await query(rush.database_url, "SELECT kind, source_id::text, amount FROM xp_event ORDER BY at, id")
    [(xp,)] = await query(
        rush.database_url, "SELECT xp FROM user_profile JOIN users ON id = user_id WHERE email = 'quick@example.com'"
    )

    assert paid == [("quiz", lesson, 25) for lesson in rush.lessons]
    assert xp == 25 * len(rush.lessons)
    for replies in rush.replies.values():
        assert sorted(reply.json()["xp_gained"] for reply in replies if reply.is_success) == [0] * 39 + [25]
