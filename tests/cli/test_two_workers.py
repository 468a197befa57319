"""Several worker processes on one database: the same data from each, and XP is paid once whoever is asked."""

import asyncio
import signal
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import httpx
import psutil
import pytest

from support.processes import (
    Finished,
    Served,
    ask_every_worker,
    mambo,
    query,
    serve,
)

AT_ONCE = 50
LESSONS = 5


class Rush(NamedTuple):
    """What came of 50 completions at once of each of five lessons, sent to two workers."""

    database_url: str
    served_by: set[int]
    answers: set[str]
    lessons: dict[str, int]
    replies: dict[str, list[httpx.Response]]
    mixed: list[httpx.Response]
    verified: Finished
    end: Finished
    left_running: set[int]


@pytest.fixture(scope="module")
async def rush(make_database: Callable[[str], Any], tmp_path_factory: pytest.TempPathFactory) -> Rush:
    url: str = await make_database("served_by_workers")
    folder = tmp_path_factory.mktemp("workers")
    async with serve(folder, "--workers", "2", environ={"DATABASE_URL": url}) as served:
        served_by, answers = await ask_every_worker(served, workers=2)
        lessons, replies = await complete_at_once(served)
        mixed = await complete_mixed(served, lessons)
        verified = await mambo("game", "verify", folder=folder, environ={"DATABASE_URL": url})
        ending = await served.stop(signal.SIGTERM)
        left = {worker for worker in served_by if psutil.pid_exists(worker)}
        return Rush(url, served_by, answers, lessons, replies, mixed, verified, ending, left)


async def complete_at_once(served: Served) -> tuple[dict[str, int], dict[str, list[httpx.Response]]]:
    """A new learner completes lessons, each over 50 new connections at once; the lessons' XP, and the replies."""
    header = await register(served, "rush@example.com")
    async with served.client() as client:
        free = next(world for world in (await client.get("/api/courses/worlds")).json() if world["is_free"])
        course = (await client.get(f"/api/courses/worlds/{free['id']}/lessons")).json()
    paying = [lesson for lesson in course if not lesson["is_boss_battle"]][:LESSONS]
    replies = {}
    for lesson in paying:
        # A client for each lesson: the server closes what idles, perhaps at the moment in which it is used again.
        replies[lesson["id"]] = await post_at_once(served, header, [lesson["id"]] * AT_ONCE)
    return {lesson["id"]: lesson["xp_value"] for lesson in paying}, replies


async def complete_mixed(served: Served, lessons: Iterable[str]) -> list[httpx.Response]:
    """Another learner completes the lessons, all at once and each ten times."""
    return await post_at_once(served, await register(served, "mixed@example.com"), [*lessons] * (AT_ONCE // LESSONS))


async def register(served: Served, email: str) -> dict[str, str]:
    """The header of a new learner."""
    account = {"email": email, "password": "on two since 1986", "first_name": "Ana", "last_name": "Ruiz"}
    async with served.client() as client:
        token = (await client.post("/api/auth/register", json=account)).json()["access_token"]
    return {"Authorization": f"Bearer {token}"}


async def post_at_once(served: Served, header: dict[str, str], lessons: list[str]) -> list[httpx.Response]:
    async with served.client(limits=httpx.Limits(max_connections=AT_ONCE), headers=header) as client:
        return await asyncio.gather(*(client.post(f"/api/courses/lessons/{lesson}/complete") for lesson in lessons))


async def test_two_workers_serve_the_same_courses(rush: Rush) -> None:
    [courses] = rush.answers

    assert len(rush.served_by) == 2
    assert "mambo-foundations" in courses


async def test_fifty_completions_at_once_on_two_workers_all_succeed_and_one_is_new(rush: Rush) -> None:
    assert len(rush.lessons) == LESSONS
    for replies in rush.replies.values():
        assert [reply.status_code for reply in replies] == [200] * AT_ONCE
        assert sum(reply.json()["newly_completed"] for reply in replies) == 1


async def test_every_reply_tells_the_total_after_its_lesson(rush: Rush) -> None:
    """The one that is new has gained the lesson's XP, the others none."""
    total = 0
    for lesson, xp in rush.lessons.items():
        total += xp
        bodies = [reply.json() for reply in rush.replies[lesson]]
        assert {body["new_total_xp"] for body in bodies} == {total}
        assert sorted(body["xp_gained"] for body in bodies) == [0] * (AT_ONCE - 1) + [xp]


async def test_the_ledger_holds_one_row_for_each_lesson_and_adds_up_to_the_xp(rush: Rush) -> None:
    paid = await query(
        rush.database_url,
        "SELECT source_id::text, amount FROM xp_event JOIN users ON users.id = user_id"
        " WHERE email = 'rush@example.com' ORDER BY at, xp_event.id",
    )
    [(xp,)] = await query(
        rush.database_url, "SELECT xp FROM user_profile JOIN users ON id = user_id WHERE email = 'rush@example.com'"
    )

    assert paid == list(rush.lessons.items())
    assert xp == sum(amount for _, amount in paid) == sum(rush.lessons.values())


async def test_lessons_completed_all_at_once_are_each_paid_once(rush: Rush) -> None:
    """Whatever came first, the last total is that of all."""
    bodies = [reply.json() for reply in rush.mixed]

    assert [reply.status_code for reply in rush.mixed] == [200] * AT_ONCE
    assert sorted(body["xp_gained"] for body in bodies if body["newly_completed"]) == sorted(rush.lessons.values())
    assert max(body["new_total_xp"] for body in bodies) == sum(rush.lessons.values())


async def test_the_ledger_equals_its_projections(rush: Rush) -> None:
    assert (rush.verified.code, rush.verified.out) == (0, "Everyone's XP is what the ledger says.\n")


async def test_sigterm_ends_every_worker(rush: Rush) -> None:
    """Exit code 0 within the grace that is given to requests, and both processes are gone."""
    assert rush.end.code == 0
    assert rush.left_running == set()
    assert "Traceback" not in rush.end.err
