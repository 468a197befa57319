"""Two worker processes accept one of many concurrent submissions and grades, and pay once."""

import asyncio
import json
from collections.abc import Callable
from typing import Any, NamedTuple

import httpx
import pytest

from support.processes import call_every_worker, query, serve, sign_in

ROUNDS = 5
AT_ONCE = 20
XP = 120
VIDEO = "https://video.example/my-shines.mp4"


class Rush(NamedTuple):
    """The responses to 20 concurrent submissions to each of five battles, and to 20 concurrent grades of each."""

    database_url: str
    served_by: set[int]
    submitting: list[list[httpx.Response]]
    grading: list[list[httpx.Response]]


@pytest.fixture(scope="module")
async def rush(make_database: Callable[[str], Any], tmp_path_factory: pytest.TempPathFactory) -> Rush:
    url: str = await make_database("boss_battles_by_workers")
    folder = tmp_path_factory.mktemp("battles")
    submitting, grading = [], []
    async with serve(folder, "--workers", "2", environ={"DATABASE_URL": url}) as served:
        served_by, _ = await call_every_worker(served, workers=2)
        admin = json.loads((served.data_dir / "admin.json").read_bytes())
        async with served.client() as client:
            staff = await sign_in(client, admin["email"], admin["password"])
            learner = await register(client)
            battles = await build_battles(client, staff)
        for lesson_id in battles:
            body = {"lesson_id": lesson_id, "video_url": VIDEO}
            submitting.append(
                await post_concurrently(served.client, learner, "/api/submissions/submit", [body] * AT_ONCE)
            )
            [submission_id] = [reply.json()["id"] for reply in submitting[-1] if reply.status_code == 201]
            grades = [{"status": "approved"}, {"status": "rejected", "feedback_text": "Slower."}] * (AT_ONCE // 2)
            grading.append(
                await post_concurrently(served.client, staff, f"/api/admin/submissions/{submission_id}/grade", grades)
            )
    return Rush(url, served_by, submitting, grading)


async def register(client: httpx.AsyncClient) -> dict[str, str]:
    """Register a learner, and return their Authorization header."""
    account = {"email": "rush@example.com", "password": "on two since 1986", "first_name": "Ana", "last_name": "Ruiz"}
    token = (await client.post("/api/auth/register", json=account)).json()["access_token"]
    return {"Authorization": f"Bearer {token}"}


async def build_battles(client: httpx.AsyncClient, staff: dict[str, str]) -> list[str]:
    """Create boss battles in a course of their own, and return their ids."""
    course = {"title": "Battles", "slug": "battles", "order_index": 9, "is_free": True, "is_published": True}
    world = await client.post("/api/admin/courses", json=course | {"difficulty": "Beginner"}, headers=staff)
    path = f"/api/admin/courses/{world.json()['id']}/lessons"
    battle = {"title": "Battle", "is_boss_battle": True, "xp_value": XP}
    return [
        (await client.post(path, json=battle | {"order_index": number}, headers=staff)).json()["id"]
        for number in range(ROUNDS)
    ]


async def post_concurrently(
    client_of: Callable[..., httpx.AsyncClient], header: dict[str, str], path: str, bodies: list[dict[str, str]]
) -> list[httpx.Response]:
    """Post all bodies concurrently, each over a new connection."""
    async with client_of(limits=httpx.Limits(max_connections=len(bodies)), headers=header) as client:
        return await asyncio.gather(*(client.post(path, json=body) for body in bodies))


async def test_of_concurrent_submissions_one_succeeds(rush: Rush) -> None:
    assert len(rush.served_by) == 2
    for replies in rush.submitting:
        assert sorted(reply.status_code for reply in replies) == [201] + [409] * (AT_ONCE - 1)


async def test_of_concurrent_grades_one_succeeds_and_reports_the_xp(rush: Rush) -> None:
    for replies in rush.grading:
        assert sorted(reply.status_code for reply in replies) == [200] + [409] * (AT_ONCE - 1)
        [graded] = [reply.json() for reply in replies if reply.status_code == 200]
        assert graded["xp_gained"] == (XP if graded["status"] == "approved" else 0)


async def test_each_approval_completes_and_pays_once(rush: Rush) -> None:
    approved = await query(rush.database_url, "SELECT lesson_id FROM submission WHERE status = 'approved' ORDER BY 1")
    completed = await query(rush.database_url, "SELECT lesson_id FROM lesson_completion ORDER BY 1")
    paid = await query(rush.database_url, "SELECT source_id FROM xp_event WHERE kind = 'boss' ORDER BY 1")
    [(xp,)] = await query(
        rush.database_url, "SELECT xp FROM user_profile JOIN users ON id = user_id WHERE email = 'rush@example.com'"
    )

    assert await query(rush.database_url, "SELECT count(*) FROM submission") == [(ROUNDS,)]
    assert approved == completed == paid
    assert xp == XP * len(approved)
