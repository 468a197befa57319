"""Several worker processes with one database: each serves the same data, and XP is paid once."""

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
    call_every_worker,
    mambo,
    query,
    serve,
)

CONCURRENT = 50
LESSONS = 5


class Completions(NamedTuple):
    """50 concurrent completions of each of five lessons, served by two workers."""

    database_url: str
    served_by: set[int]
    bodies: set[str]
    lessons: dict[str, int]
    responses: dict[str, list[httpx.Response]]
    mixed: list[httpx.Response]
    verified: Finished
    end: Finished
    left_running: set[int]


@pytest.fixture(scope="module")
async def completions(make_database: Callable[[str], Any], tmp_path_factory: pytest.TempPathFactory) -> Completions:
    url: str = await make_database("served_by_workers")
    folder = tmp_path_factory.mktemp("workers")
    async with serve(folder, "--workers", "2", environ={"DATABASE_URL": url}) as served:
        served_by, bodies = await call_every_worker(served, workers=2)
        lessons, responses = await complete_concurrently(served)
        mixed = await complete_mixed(served, lessons)
        verified = await mambo("game", "verify", folder=folder, environ={"DATABASE_URL": url})
        end = await served.stop(signal.SIGTERM)
        left = {worker for worker in served_by if psutil.pid_exists(worker)}
        return Completions(url, served_by, bodies, lessons, responses, mixed, verified, end, left)


async def complete_concurrently(served: Served) -> tuple[dict[str, int], dict[str, list[httpx.Response]]]:
    """Complete lessons as a new learner, each over 50 new connections at the same time.

    Returns the XP of the lessons, and the responses.
    """
    header = await register(served, "ana@example.com")
    async with served.client() as client:
        free = next(world for world in (await client.get("/api/courses/worlds")).json() if world["is_free"])
        course = (await client.get(f"/api/courses/worlds/{free['id']}/lessons")).json()
    chosen = [lesson for lesson in course if not lesson["is_boss_battle"]][:LESSONS]
    responses = {}
    for lesson in chosen:
        # A client for each lesson, because the server may close an idle connection at the moment of its next use.
        responses[lesson["id"]] = await post_concurrently(served, header, [lesson["id"]] * CONCURRENT)
    return {lesson["id"]: lesson["xp_value"] for lesson in chosen}, responses


async def complete_mixed(served: Served, lessons: Iterable[str]) -> list[httpx.Response]:
    """Complete the lessons as another learner, all at the same time and each ten times."""
    return await post_concurrently(
        served, await register(served, "mixed@example.com"), [*lessons] * (CONCURRENT // LESSONS)
    )


async def register(served: Served, email: str) -> dict[str, str]:
    """Create a learner, and return the header with their token."""
    account = {"email": email, "password": "on two since 1986", "first_name": "Ana", "last_name": "Ruiz"}
    async with served.client() as client:
        token = (await client.post("/api/auth/register", json=account)).json()["access_token"]
    return {"Authorization": f"Bearer {token}"}


async def post_concurrently(served: Served, header: dict[str, str], lessons: list[str]) -> list[httpx.Response]:
    async with served.client(limits=httpx.Limits(max_connections=CONCURRENT), headers=header) as client:
        return await asyncio.gather(*(client.post(f"/api/courses/lessons/{lesson}/complete") for lesson in lessons))


async def test_two_workers_serve_the_same_courses(completions: Completions) -> None:
    [courses] = completions.bodies

    assert len(completions.served_by) == 2
    assert "mambo-foundations" in courses


async def test_fifty_concurrent_completions_succeed_and_one_is_new(completions: Completions) -> None:
    assert len(completions.lessons) == LESSONS
    for responses in completions.responses.values():
        assert [response.status_code for response in responses] == [200] * CONCURRENT
        assert sum(response.json()["newly_completed"] for response in responses) == 1


async def test_every_response_has_the_total_after_its_lesson(completions: Completions) -> None:
    """The first completion gains the XP of the lesson, the others nothing."""
    total = 0
    for lesson, xp in completions.lessons.items():
        total += xp
        bodies = [response.json() for response in completions.responses[lesson]]
        assert {body["new_total_xp"] for body in bodies} == {total}
        assert sorted(body["xp_gained"] for body in bodies) == [0] * (CONCURRENT - 1) + [xp]


async def test_the_ledger_has_one_row_per_lesson_and_adds_up_to_the_xp(completions: Completions) -> None:
    paid = await query(
        completions.database_url,
        "SELECT source_id::text, amount FROM xp_event JOIN users ON users.id = user_id"
        " WHERE email = 'ana@example.com' ORDER BY at, xp_event.id",
    )
    [(xp,)] = await query(
        completions.database_url,
        "SELECT xp FROM user_profile JOIN users ON id = user_id WHERE email = 'ana@example.com'",
    )

    assert paid == list(completions.lessons.items())
    assert xp == sum(amount for _, amount in paid) == sum(completions.lessons.values())


async def test_concurrently_completed_lessons_are_paid_once_each(completions: Completions) -> None:
    """In any order, the last total is the sum."""
    bodies = [response.json() for response in completions.mixed]

    assert [response.status_code for response in completions.mixed] == [200] * CONCURRENT
    assert sorted(body["xp_gained"] for body in bodies if body["newly_completed"]) == sorted(
        completions.lessons.values()
    )
    assert max(body["new_total_xp"] for body in bodies) == sum(completions.lessons.values())


async def test_the_totals_equal_the_ledger(completions: Completions) -> None:
    assert (completions.verified.code, completions.verified.out) == (0, "Everyone's XP is what the ledger says.\n")


async def test_sigterm_ends_every_worker(completions: Completions) -> None:
    """The exit code is 0, and both processes have ended."""
    assert completions.end.code == 0
    assert completions.left_running == set()
    assert "Traceback" not in completions.end.err
