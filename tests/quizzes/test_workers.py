"""Two worker processes on one database: quizzes are counted, limited and paid as by one."""

import asyncio
from collections.abc import Callable
from typing import Any, NamedTuple

import httpx
import pytest

from support.processes import Served, ask_every_worker, query, serve

AT_ONCE = 50
FREE_QUIZZES = """
    SELECT lesson.id::text, content_json->'quiz' FROM lesson JOIN world ON world.id = world_id
    WHERE is_free AND content_json ? 'quiz' ORDER BY lesson.id LIMIT 5
"""


class Rush(NamedTuple):
    """What came of 50 passes at once of each quiz, sent to two workers that let 40 through."""

    database_url: str
    lessons: list[str]
    replies: dict[str, list[httpx.Response]]


@pytest.fixture(scope="module")
async def rush(make_database: Callable[[str], Any], tmp_path_factory: pytest.TempPathFactory) -> Rush:
    url: str = await make_database("quizzed_by_workers")
    environ = {"DATABASE_URL": url, "LIMIT_QUIZ": "40/hour"}
    async with serve(tmp_path_factory.mktemp("workers"), "--workers", "2", environ=environ) as served:
        await ask_every_worker(served, workers=2)
        quizzes = await query(url, FREE_QUIZZES)
        return Rush(url, [lesson for lesson, _ in quizzes], await pass_at_once(served, dict(quizzes)))


async def pass_at_once(served: Served, quizzes: dict[str, Any]) -> dict[str, list[httpx.Response]]:
    """A new learner passes each quiz over 50 new connections at once."""
    account = {"email": "quick@example.com", "password": "on two since 1986", "first_name": "Ana", "last_name": "Ruiz"}
    async with served.client() as client:
        token = (await client.post("/api/auth/register", json=account)).json()["access_token"]
    replies = {}
    for lesson, quiz in quizzes.items():
        limits, header = httpx.Limits(max_connections=AT_ONCE), {"Authorization": f"Bearer {token}"}
        async with served.client(limits=limits, headers=header) as client:
            asked = [
                client.post(f"/api/courses/lessons/{lesson}/quiz", json={"answers": right(quiz)})
                for _ in range(AT_ONCE)
            ]
            replies[lesson] = await asyncio.gather(*asked)
    return replies


def right(quiz: list[dict[str, Any]]) -> dict[str, int]:
    return {
        question["id"]: next(n for n, option in enumerate(question["options"]) if option.get("isCorrect"))
        for question in quiz
    }


async def test_passes_at_once_on_two_workers_are_numbered_without_gaps_up_to_the_limit(rush: Rush) -> None:
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
